"""Every probe, in the order in which a technician would ask."""

from __future__ import annotations

from tpmconsole.board.doctor import (
    chip,
    device,
    identities,
    network,
    openssl,
    programs,
    sessions,
    system,
)
from tpmconsole.board.doctor.runner import Probe

_TPM = "the TPM, its resource manager or its driver does not answer"
_NETWORK = "a name server or the network does not answer"

PROBES = (
    Probe("driver", device.driver),
    Probe("device", device.nodes),
    Probe("permission", device.permission, needs=("device",)),
    Probe("other users", device.users, deadline_s=4.0),
    Probe("manager", device.manager, hangs="the system's message bus does not answer"),
    Probe("tcti", chip.tcti, deadline_s=8.0, hangs="the simulator does not start, or the bus"),
    Probe("tpm", chip.answers, needs=("tcti",), deadline_s=8.0, hangs=_TPM),
    Probe("self-test", chip.self_test),
    Probe("lock-out", chip.lockout, needs=("tpm",)),
    Probe("hierarchies", chip.hierarchies, needs=("tpm",)),
    Probe("room", chip.room, needs=("tpm",)),
    Probe("clock", system.clock),
    Probe("entropy", system.entropy),
    Probe("openssl", openssl.library, deadline_s=3.0),
    Probe("module", openssl.module, deadline_s=6.0, hangs=_TPM),
    Probe("engine", openssl.engine, needs=("tpm",)),
    Probe("openssl.cnf", openssl.configuration),
    Probe("environment", openssl.environment),
    Probe("identity", identities.folders),
    Probe("keys", identities.keys, deadline_s=4.0, hangs=_TPM),
    Probe("signature", identities.signatures, needs=("tpm",), deadline_s=5.0, hangs=_TPM),
    Probe("certificate", identities.certificates, deadline_s=4.0, hangs=_TPM),
    Probe("trust", identities.trust, deadline_s=4.0, hangs=_TPM),
    Probe("crl", sessions.revocation),
    Probe("dns", network.names, hangs=_NETWORK),
    Probe("tcp", network.connections, hangs=_NETWORK),
    Probe("tls", network.handshakes, hangs=_NETWORK),
    Probe("disk", system.disk, hangs="the disk, or the network that it is on"),
    Probe("files", system.files, hangs="the disk, or the network that it is on"),
    Probe("privilege", system.privilege),
    Probe("terminal", programs.terminal),
    Probe("versions", programs.versions),
    Probe("packages", programs.packages),
)
