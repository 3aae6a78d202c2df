"""``openssl verify``, as a peer's TLS with Debian's defaults would do: compared with ours."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

OPENSSL = shutil.which("openssl")


def refusal(leaf: bytes, others: bytes, anchors: bytes, role: str, when: datetime) -> str | None:
    """Return why OpenSSL refuses a certificate; None if it accepts it.

    Args:
        others: the certificates sent with it, PEM.
        anchors: the certificates that the peer trusts, roots or not, as our sessions do.
        when: fractions of a second are dropped, since OpenSSL does not take any.
    """
    command = [OPENSSL or "openssl", "verify", "-no-CApath", "-no-CAstore", "-partial_chain"]
    command += ["-auth_level", "2", "-purpose", f"ssl{role}"]
    command += ["-attime", str(int(when.replace(microsecond=0).timestamp()))]
    command += ["-CAfile", "anchors"] if anchors else ["-no-CAfile"]
    command += ["-untrusted", "others"] if others else []
    with tempfile.TemporaryDirectory() as folder:
        for file, data in (("leaf", leaf), ("others", others), ("anchors", anchors)):
            (Path(folder) / file).write_bytes(data)
        done = subprocess.run(
            [*command, "leaf"],
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "OPENSSL_CONF": "/dev/null"},
        )
    if done.returncode == 0:
        return None
    said = done.stderr.splitlines()
    return next((one for one in said if one.startswith("error ")), said[-1] if said else "refused")
