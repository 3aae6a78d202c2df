"""A device's key, request, certificate and trust anchors, as files in a folder.

**Why files are written in a certain order.** A power cut can come between any two writes. A new
identity is built in a temporary folder and renamed when it is complete. An installed certificate is
kept as ``.previous`` before it is replaced, the trust anchors are written before the certificate
that needs them, and each file is written completely under another name, synchronised and renamed.
So whatever a crash leaves behind works (``tests/identity/test_crash.py`` stops at each step). A
lock on the folder keeps two programs from changing it at the same time.

**Why an identity names its key.** Another user of the TPM could put a different key at the same
handle. ``identity.toml`` has the key's Name and the SHA-256 of its public key, and no other key is
used.

This package knows private-key objects, never a TPM.
"""
