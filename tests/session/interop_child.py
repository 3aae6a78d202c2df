"""A TLS client with a key in the TPM that says what it is told to, in hex, and prints the answer.

``interop_child.py ENGINE KEY-FILE-OR-HANDLE CHAIN TRUST TCTI PORT VERSION HEX``: the engines alone,
without a session's protocol.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

from tpmconsole.session.bridge import Bridge
from tpmconsole.session.tls import BridgeEngine, Engine, ProviderEngine, make_context
from tpmconsole.tpm.model import KeySource
from tpmconsole.tpm.signer import Signer


def main(name: str, key: str, chain: Path, trust: Path, tcti: str, *more: str) -> None:
    port, version, said = more
    with contextlib.ExitStack() as stack:
        engine: Engine
        if name == "provider":
            engine = ProviderEngine(Path(key), chain, None)
        else:
            source = (
                KeySource(handle=int(key, 16))
                if key.startswith("0x")
                else KeySource(pem=Path(key).read_bytes())
            )
            signer = stack.enter_context(Signer(tcti, source))
            bridge = Bridge(signer.public_key(), signer.sign, signer.raw_rsa)
            engine = BridgeEngine(bridge, chain)
        context = make_context(
            server=False, engine=engine, trust=trust, min_tls=version, max_tls=version
        )
        with (
            socket.create_connection(("127.0.0.1", int(port)), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(bytes.fromhex(said))
            print(tls.version(), tls.recv(64).hex(), flush=True)


main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), *sys.argv[5:])
