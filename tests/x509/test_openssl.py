"""Certificates as the ``openssl`` command makes them: what most small CAs are."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from support.pki import handshake

from tpmconsole.x509.bundle import read_bundle
from tpmconsole.x509.judge import Judgement, judge

OPENSSL = shutil.which("openssl") or "openssl"
LEAF = """basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth,serverAuth
subjectAltName = DNS:gateway.local
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True)
class Made:
    """Files in one folder: a root, a request's key and the certificate."""

    folder: Path

    def run(self, *arguments: str) -> None:
        subprocess.run(
            [OPENSSL, *arguments],
            cwd=self.folder,
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "OPENSSL_CONF": "/dev/null"},
        )

    def certificates(self, file: str) -> list[x509.Certificate]:
        return read_bundle((self.folder / file).read_bytes())

    def judge(self, *files: str, role: str = "client") -> Judgement:
        return judge(
            [one for file in files for one in self.certificates(file)],
            public_key=load_pem_private_key(self.key(), None).public_key(),
            trust=self.certificates("root.pem"),
            role=role,
            now=datetime.now(UTC),
        )

    def key(self) -> bytes:
        return (self.folder / "key.pem").read_bytes()

    def shake(self, judgement: Judgement, *, strict: bool = False) -> str | None:
        key = load_pem_private_key(self.key(), None)
        trust = self.certificates("root.pem")
        return handshake(self.folder, "client", key, judgement.chain, trust, strict=strict)


_ROOT = [
    "req",
    "-x509",
    "-keyout",
    "root.key",
    "-out",
    "root.pem",
    "-subj",
    "/CN=Root",
    "-days",
    "400",
]
_ROOT += [
    "-addext",
    "basicConstraints=critical,CA:TRUE",
    "-addext",
    "keyUsage=critical,keyCertSign",
]
_ROOT += ["-addext", "subjectKeyIdentifier=hash"]
# Newer releases add these by themselves.
NONE = "subjectKeyIdentifier = none\nauthorityKeyIdentifier = none\n"
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
RSA = ["-newkey", "rsa:2048", "-nodes"]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A root as ``openssl req -x509`` makes it by the book, and a request."""
    one = Made(tmp_path)
    one.run(*_ROOT, *EC)
    one.run("req", "-new", *EC, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=gateway")
    (tmp_path / "leaf.ext").write_text(LEAF)
    (tmp_path / "none.ext").write_text(NONE)
    return one


def _sign(made: Made, *options: str) -> None:
    made.run("x509", "-req", "-in", "request.pem", "-CA", "root.pem", "-CAkey", "root.key",
             "-CAcreateserial", "-days", "90", "-out", "leaf.pem", *options)  # fmt: skip


def _named(judgement: Judgement, verdict: str) -> set[str]:
    return {one.name for one in judgement.verdicts if one.state == verdict}


def test_by_the_book(made: Made) -> None:
    _sign(made, "-extfile", "leaf.ext")
    for role in ("client", "server", "both"):
        judgement = made.judge("leaf.pem", role=role)
        assert {one.state for one in judgement.verdicts} == {"ok"}
    assert made.shake(judgement, strict=True) is None


def test_version_1_is_accepted_with_a_warning(made: Made) -> None:
    """Without extensions OpenSSL makes version 1."""
    made.run("x509", "-req", "-in", "request.pem", "-CA", "root.pem", "-CAkey", "root.key",
             "-set_serial", "7", "-days", "90", "-out", "leaf.pem",
             "-extfile", "none.ext")  # fmt: skip
    judgement = made.judge("leaf.pem")
    assert judgement.acceptable
    assert _named(judgement, "warn") == {"authority-key-identifier", "chain"}
    assert made.shake(judgement) is None


@pytest.mark.parametrize("digest", ["-sha1", "-md5"])
def test_broken_digests_are_refused(made: Made, digest: str) -> None:
    made.run(*_ROOT, *RSA)  # there is no ECDSA with MD5
    _sign(made, "-extfile", "leaf.ext", digest)
    judgement = made.judge("leaf.pem")
    assert _named(judgement, "fail") == {"algorithms"}
    assert digest[1:].upper() in next(o.text for o in judgement.verdicts if o.state == "fail")
    assert made.shake(judgement) is not None


def test_an_old_root_that_signed_itself_with_sha1(made: Made) -> None:
    """Nobody verifies an anchor's own signature: it is trusted, not proved."""
    made.run("req", "-x509", "-key", "root.key", "-sha1", *_ROOT[4:])
    _sign(made, "-extfile", "leaf.ext")
    judgement = made.judge("leaf.pem")
    assert {one.state for one in judgement.verdicts} == {"ok"}
    assert made.shake(judgement, strict=True) is None


def test_version_1_root(made: Made) -> None:
    made.run("req", "-new", "-key", "root.key", "-out", "old.csr", "-subj", "/CN=Root")
    try:  # the older way makes version 1 only in older releases, which do not know the newer way
        made.run("req", "-x509v1", "-key", "root.key", "-subj", "/CN=Root", "-days", "400",
                 "-out", "root.pem")  # fmt: skip
    except subprocess.CalledProcessError:
        made.run("x509", "-req", "-in", "old.csr", "-signkey", "root.key", "-days", "400",
                 "-out", "root.pem")  # fmt: skip
    (root,) = made.certificates("root.pem")
    assert root.version is x509.Version.v1
    (made.folder / "leaf.ext").write_text(LEAF.replace("authorityKeyIdentifier = keyid\n", ""))
    _sign(made, "-extfile", "leaf.ext")
    judgement = made.judge("leaf.pem")
    assert judgement.acceptable
    assert made.shake(judgement) is None


def test_openssl_ca_signs_our_request_and_sends_pkcs7(made: Made) -> None:
    """The ``ca`` command, with the chain as PKCS #7 in DER, root first."""
    (made.folder / "index.txt").write_text("")
    (made.folder / "serial").write_text("1000\n")
    (made.folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = it\n[it]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\n"
        "default_md = sha256\ndefault_days = 90\npolicy = any\n[any]\ncommonName = supplied\n"
    )
    made.run("ca", "-batch", "-config", "ca.cnf", "-in", "request.pem", "-extfile", "leaf.ext",
             "-cert", "root.pem", "-keyfile", "root.key", "-out", "leaf.txt")  # fmt: skip
    made.run("crl2pkcs7", "-nocrl", "-certfile", "root.pem", "-certfile", "leaf.txt",
             "-outform", "DER", "-out", "chain.p7b")  # fmt: skip
    judgement = made.judge("chain.p7b")
    assert judgement.acceptable
    assert len(judgement.chain) == 1
    # The ca command writes the certificate as text before its PEM.
    assert made.judge("leaf.txt").acceptable


def test_trusted_certificate_form_is_named(made: Made) -> None:
    made.run("x509", "-in", "root.pem", "-trustout", "-out", "trusted.pem")
    with pytest.raises(Exception, match="TRUSTED CERTIFICATE"):
        made.certificates("trusted.pem")
    beside = (made.folder / "root.pem").read_bytes() + (made.folder / "trusted.pem").read_bytes()
    (made.folder / "both.pem").write_bytes(beside)  # not left out without a word
    with pytest.raises(Exception, match="TRUSTED CERTIFICATE"):
        made.certificates("both.pem")


def test_an_expired_one(made: Made) -> None:
    _sign(made, "-extfile", "leaf.ext")
    certificates = made.certificates("leaf.pem")
    judgement = judge(
        certificates,
        public_key=certificates[0].public_key(),
        trust=made.certificates("root.pem"),
        role="client",
        now=datetime.now(UTC) + timedelta(days=91),
    )
    assert _named(judgement, "fail") == {"dates"}
