"""The bridge under many handshakes: the memory and objects that it keeps."""

from __future__ import annotations

import gc
import ssl
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.pki import Ca, SoftwareIdentity, SoftwareSigner, make_key, memory_handshake
from tpmconsole.session.tls.bridge import Bridge

# Until allocators, caches and OpenSSL's own tables have their permanent size.
WARM_UP = 500
PER_CONTEXT = 100


@dataclass(frozen=True)
class Growth:
    """The growth of a process during some handshakes: in bytes, and the number of handshakes."""

    handshakes: int
    rss_bytes: int
    descriptors: int


def soak_bridge(folder: Path, kind: str, handshakes: int) -> Growth:
    """Do handshakes in memory, with a new bridge and a new context every ``PER_CONTEXT`` times.

    Args:
        folder: for certificates.
        kind: of the key: ``ec-p256``, ``ec-p384``, ``rsa-2048`` …; it is in software.
    """
    ca = Ca.make("root")
    signer = SoftwareSigner(make_key(kind))
    chain = folder / "bridged.pem"
    chain.write_bytes(ca.issue(signer.public_key(), "bridged"))
    server = SoftwareIdentity.make(folder / "peer", ca, "peer").context(server=True)
    process = psutil.Process()

    def shake(times: int) -> None:
        for number in range(times):
            if number % PER_CONTEXT == 0:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(cadata=ca.pem.decode())
                Bridge(signer.public_key(), signer.sign, signer.raw_rsa).install(context, chain)
            memory_handshake(context, server)
            signer.asked.clear()
        gc.collect()

    shake(WARM_UP)
    rss, descriptors = process.memory_info().rss, process.num_fds()
    shake(handshakes)
    return Growth(handshakes, process.memory_info().rss - rss, process.num_fds() - descriptors)
