"""A CA as a technician makes one: files in a folder, and the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OPENSSL = shutil.which("openssl") or "openssl"
EXTENSIONS = "authorityKeyIdentifier = keyid\nsubjectKeyIdentifier = hash\n"


class Authority:
    """A CA as a technician makes one: files in a folder, and the openssl command."""

    def __init__(self, folder: Path, name: str = "CA") -> None:
        self.folder = folder
        self.root = folder / "ca.pem"
        folder.mkdir()
        (folder / "ca.ext").write_text(EXTENSIONS)
        self.run(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "ca.key", "-out", "ca.pem", "-days", "400", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [OPENSSL, *arguments],
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin"},
        )
        return done.stdout + done.stderr

    def sign(self, request: Path, days: int = 90) -> Path:
        """Issue the certificate that a request asks for."""
        self.run(
            *("x509", "-req", "-in", str(request), "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", str(days), "-copy_extensions", "copy"),
            *("-extfile", "ca.ext", "-out", "leaf.pem"),
        )
        return self.folder / "leaf.pem"

    def fingerprint(self) -> str:
        """The root's fingerprint, as the CA publishes it: SHA-256, 64 hexadecimal digits."""
        said = self.run("x509", "-in", "ca.pem", "-noout", "-fingerprint", "-sha256")
        return said.strip().rpartition("=")[2].replace(":", "")
