"""Mutual TLS with a key that stays in the TPM.

**Why a session is a process.** It must outlive the console and the serial line. It is the leader of
its own session, so a hang-up does not reach it; it writes its status and events to its folder, and
the next console reads them there. A process is identified by its pid *and* its start time. What it
writes is data: bounded, typed, never a source of commands (``said``, ``ownership``). ``manager``,
``launcher`` and ``service`` see it from outside; ``process`` runs inside it.

**Why there are two engines.** A signature must get from OpenSSL to the TPM. ``provider`` is
OpenSSL's tpm2 provider. Before tpm2-openssl 1.2 it verifies inside the TPM and takes 26 TPM
commands for a handshake, and a key at a persistent handle cannot have a password with it.
``bridge`` is a signing callback that this package installs in the ``SSL_CTX`` of Python's ``ssl``;
it takes one TPM command and needs no provider. ``tls.engine`` chooses, and says why.

**Why a pre-flight comes first.** A handshake in memory proves that key, certificate and engine work
together before a port is opened, and says which of them does not.
"""
