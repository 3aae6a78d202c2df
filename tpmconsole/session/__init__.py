"""Mutual TLS with a key that stays in the TPM.

**Why a session is a process.** It must outlive the console and the serial line. It is the leader of
its own process session, so a hang-up does not reach it; it writes its status and events to its
folder, and the next console reads them there. A process is identified by its pid *and* its start
time. What it writes is data: bounded, typed, never a source of commands (``said``, ``ownership``).
``manager``, ``launcher`` and ``service`` see it from outside; ``process`` runs inside it.

**Why there are two engines.** A signature must get from OpenSSL to the TPM. ``provider`` is
OpenSSL's tpm2 provider. Before tpm2-openssl 1.2 it verifies inside the TPM and needs 26 TPM
commands for a handshake, and it cannot use a key at a persistent handle that has a password.
``bridge`` is a signing callback that this package installs in the ``SSL_CTX`` of Python's ``ssl``;
it needs one TPM command and no provider. ``tls.engine`` chooses one and gives the reason.

**Why a pre-flight comes first.** A handshake in memory shows that key, certificate and engine work
together before a port is opened, or which of them does not work.
"""
