"""Takes one measurement for every line of standard input, and prints it in seconds."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from session.session_pki import SoftwareIdentity

from bench.measure import timed
from tpmconsole.session.bridge import Bridge
from tpmconsole.session.tls import BridgeEngine, Engine, ProviderEngine, make_context
from tpmconsole.tpm.model import KeySource
from tpmconsole.tpm.signer import Signer


def main(what: str, folder: Path, tcti: str, port: int) -> None:
    """Measure handshakes with a software key or an engine, or the TPM's signature alone."""
    with contextlib.ExitStack() as stack:

        def signer() -> Signer:
            source = KeySource(pem=(folder / "key.pem").read_bytes())
            return stack.enter_context(Signer(tcti, source))

        if what == "signature":
            key, digest = signer(), hashlib.sha256(b"bench").digest()
            _serve(lambda: key.sign(digest, "sha256", "ecdsa"))
            return
        if what == "software":
            context = _software(folder / "software")
        else:
            context = _with_engine(what, folder, signer)
        _serve(lambda: _shake(context, port))


def _serve(work: Callable[[], object]) -> None:
    work()  # the first one opens what later ones use
    for _ in sys.stdin:
        print(timed(work), flush=True)


def _shake(context: ssl.SSLContext, port: int) -> None:
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as stream,
    ):
        # In TLS 1.3 the client is done first; this byte says that the server is satisfied too.
        stream.recv(1)


def _software(folder: Path) -> ssl.SSLContext:
    files = (folder / name for name in ("certificate.pem", "key.pem", "trust.pem"))
    return SoftwareIdentity(*files).context(server=False)


def _with_engine(name: str, folder: Path, signer: Callable[[], Signer]) -> ssl.SSLContext:
    chain, trust = folder / "certificate.pem", folder / "peer" / "trust.pem"
    engine: Engine
    if name == "bridge":
        key = signer()
        engine = BridgeEngine(Bridge(key.public_key(), key.sign, key.raw_rsa), chain)
    else:
        engine = ProviderEngine(folder / "key.pem", chain, None)
    return make_context(server=False, engine=engine, trust=trust, min_tls=None, max_tls=None)


main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
