"""Works once for every line of standard input, and prints the seconds that it took.

A line with a number asks for so many handshakes, an empty one for a second of them.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from support.engine_alone import context_with, open_signer
from support.pki import SoftwareIdentity

from bench.measure import timed

BURST_S = 1.0


def main(what: str, folder: Path, tcti: str, port: int) -> None:
    """Shake hands for a second, with a software key or an engine; or let the TPM sign once."""
    with ExitStack() as stack:
        key = str(folder / "key.pem")
        if what == "signature":
            signer, digest = open_signer(stack, key, tcti), hashlib.sha256(b"bench").digest()
            _serve(lambda _: signer.sign(digest, "sha256", "ecdsa"))
            return
        if what == "software":
            context = _software(folder / "software")
        else:
            files = (folder / "certificate.pem", folder / "peer" / "trust.pem")
            context = context_with(stack, what, key, files, tcti)
        _serve(lambda count: _burst(context, port, count))


def _serve(work: Callable[[int | None], object]) -> None:
    for line in sys.stdin:
        count = int(line) if line.strip() else None
        print(timed(partial(work, count)), flush=True)


def _burst(context: ssl.SSLContext, port: int, count: int | None) -> None:
    end, done = time.monotonic() + BURST_S, 0
    while done < count if count is not None else time.monotonic() < end:
        _shake(context, port)
        done += 1


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


main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
