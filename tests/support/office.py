"""A CA as an office runs one: a root, an issuing CA below it, and ``openssl ca`` with its files."""

from __future__ import annotations

from pathlib import Path

from support.authority import Authority

_CONFIG = """\
[ca]
default_ca = office
[office]
database = index.txt
new_certs_dir = .
certificate = issuing.pem
private_key = issuing.key
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = copy
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
"""
_ISSUING = """\
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
"""


class Office:
    """Signs requests; a peer accepts its certificates only after trusting its root.

    Attributes:
        root: the root's certificate, as it is published.
        chain: what a peer sends below its own certificate.
    """

    def __init__(self, folder: Path) -> None:
        self._top = Authority(folder, "Office Root")
        self._folder = folder
        self.root = self._top.root
        self.chain = folder / "issuing.pem"
        (folder / "office.cnf").write_text(_CONFIG)
        (folder / "issuing.ext").write_text(_ISSUING)
        (folder / "index.txt").touch()
        self._key("issuing", "Office Issuing CA")
        self._top.run(
            *("x509", "-req", "-in", "issuing.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "300", "-extfile", "issuing.ext", "-out", "issuing.pem"),
        )

    def sign(self, request: Path, out: Path, days: int = 90) -> None:
        """Write a certificate with its chain."""
        self._top.run(
            *("ca", "-batch", "-config", "office.cnf", "-notext", "-days", str(days)),
            *("-in", str(request), "-out", "leaf.pem"),
        )
        out.write_bytes((self._folder / "leaf.pem").read_bytes() + self.chain.read_bytes())

    def peer(self, name: str, *extensions: str) -> tuple[Path, Path]:
        """The certificate with its chain, and the key, of a peer without a TPM."""
        self._key(name, name, *extensions)
        self.sign(self._folder / f"{name}.csr", self._folder / f"{name}.pem")
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"

    def _key(self, file: str, common: str, *extensions: str) -> None:
        self._top.run(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", f"{file}.key", "-out", f"{file}.csr", "-subj", f"/CN={common}"),
            *(part for one in extensions for part in ("-addext", one)),
        )
