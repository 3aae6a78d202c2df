"""A TLS client with a key in the TPM that sends bytes given in hex, and prints the answer.

``interop_child.py ENGINE KEY CHAIN TRUST TCTI PORT VERSION HEX``: the engines alone, without a
session's protocol.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

from support.engine_alone import context_with


def main(name: str, key: str, chain: str, trust: str, tcti: str, *more: str) -> None:
    port, version, said = more
    with contextlib.ExitStack() as stack:
        context = context_with(stack, name, key, (Path(chain), Path(trust)), tcti, version)
        with (
            socket.create_connection(("127.0.0.1", int(port)), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(bytes.fromhex(said))
            print(tls.version(), tls.recv(64).hex(), flush=True)


main(*sys.argv[1:])
