"""Every kind of good and bad certificate, made by ``openssl ca`` for our own requests.

The same kinds as in the table that cryptography makes (test_identity_verdicts.py), by the tool that
most CAs of a plant are: each row says which checks have to fail and which to warn.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import handshake

from tpmconsole.x509.bundle import read_bundle
from tpmconsole.x509.judge import Judgement, Proof, judge
from tpmconsole.x509.request import build
from tpmconsole.x509.request_spec import RequestSpec
from tpmconsole.x509.schemes import PrivateKey

OPENSSL = shutil.which("openssl") or "openssl"
NOW = datetime.now(UTC).replace(microsecond=0)
CONFIG = """[ca]
default_ca = it
[it]
dir = .
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 90
policy = any
copy_extensions = {copy}
[any]
commonName = supplied
organizationName = optional
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = {usage}
{san}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{more}
"""
CA = (
    "basicConstraints=critical,CA:TRUE",
    "keyUsage=critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier=hash",
)


@cache
def key_of(kind: str) -> PrivateKey:
    if kind == "EC":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "P-384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65537, 1024 if kind == "RSA 1024" else 2048)


@dataclass(frozen=True)
class Row:
    """A certificate, and the expected verdicts.

    Attributes:
        drop: lines of its extensions that are left out.
        more: lines that are added, or replace the one of the same name.
        begin: days from now to its begin.
        days: days from its begin to its end.
        issuer: the CA that signs.
        given: what is in the file beside it.
        trust: the trust anchors.
    """

    key: str = "EC"
    role: str = "client"
    usage: str = "clientAuth,serverAuth"
    drop: str = ""
    more: str = ""
    begin: int = -1
    days: int = 90
    md: str = "sha256"
    issuer: str = "root"
    given: tuple[str, ...] = ()
    trust: tuple[str, ...] = ("root",)
    subject: str = ""
    another_key: bool = False
    renews: int | None = None
    fails: set[str] = field(default_factory=set)
    warns: set[str] = field(default_factory=set)


ROWS: dict[str, Row] = {
    # Good certificates: EC and RSA, client, server and both.
    **{
        f"{key} {role}": Row(key, role, issuer=issuer, trust=(issuer,))
        for key in ("EC", "P-384", "RSA")
        for role in ("client", "server", "both")
        for issuer in ("rsa" if key == "P-384" else "root",)
    },
    "client's own": Row(usage="clientAuth", warns={"request"}),
    "below an intermediate, root first": Row(issuer="sub", given=("root", "sub")),
    "RSA below an intermediate": Row("RSA", "server", issuer="sub", given=("sub",)),
    "a renewal": Row(days=200, renews=20),
    # Certificates that work, but not everywhere or not for long.
    "expires soon": Row(days=20, warns={"expiry"}),
    "no SAN for a server": Row(
        "RSA", "server", drop="subjectAltName", warns={"san", "chain", "request"}
    ),
    "no authority key identifier": Row(
        drop="authorityKeyIdentifier",
        more="authorityKeyIdentifier = none",
        warns={"authority-key-identifier", "chain"},
    ),
    "another subject": Row(subject="/CN=changed", warns={"request"}),
    "names that were not asked for": Row(
        drop="subjectAltName", more="subjectAltName = DNS:other.local", warns={"request"}
    ),
    "a renewal that ends earlier": Row(days=50, renews=80, warns={"renewal"}),
    # Bad certificates.
    "another key": Row(another_key=True, fails={"key-match"}),
    "RSA, another key": Row("RSA", another_key=True, fails={"key-match"}),
    "expired": Row(begin=-30, days=20, fails={"dates"}),
    "RSA server, expired": Row("RSA", "server", begin=-30, days=20, fails={"dates"}),
    "not yet valid": Row(begin=2, fails={"dates"}),
    "a CA": Row(
        drop="basicConstraints",
        more="basicConstraints = critical,CA:TRUE",
        fails={"not-a-ca"},
        warns={"chain"},
    ),
    "may sign certificates": Row(
        drop="keyUsage",
        more="keyUsage = critical,digitalSignature,keyCertSign",
        fails={"not-a-ca"},
        warns={"chain"},
    ),
    "no digitalSignature": Row(
        "RSA", drop="keyUsage", more="keyUsage = critical,keyEncipherment", fails={"usage"}
    ),
    "server's, for a client": Row(usage="serverAuth", fails={"usage"}, warns={"chain", "request"}),
    "client's, for a server": Row(
        "RSA", "server", usage="clientAuth", fails={"usage"}, warns={"chain", "request"}
    ),
    "for e-mail": Row(usage="emailProtection", fails={"usage"}, warns={"chain", "request"}),
    "no intermediate": Row(issuer="sub", fails={"chain"}),
    "another CA trusted": Row(trust=("rsa",), fails={"chain"}),
    "another CA of the same name trusted": Row(trust=("twin",), fails={"chain"}),
    "nobody trusted": Row(trust=(), fails={"trust", "chain"}),
    "the root in the bundle, nobody trusted": Row(
        given=("root",), trust=(), fails={"trust", "chain"}
    ),
    "an expired CA": Row(issuer="old", trust=("old",), fails={"chain"}, warns={"trust"}),
    "SHA-1": Row(md="sha1", issuer="rsa", trust=("rsa",), fails={"algorithms"}, warns={"chain"}),
    "MD5": Row(
        "RSA",
        "server",
        md="md5",
        issuer="rsa",
        trust=("rsa",),
        fails={"algorithms"},
        warns={"chain"},
    ),
    "RSA of 1024 bits": Row("RSA 1024", "server", fails={"algorithms"}),
    "an unknown critical extension": Row(
        more="1.3.6.1.4.1.55555.1 = critical,ASN1:NULL", fails={"chain"}
    ),
}


class Plant:
    """A few CAs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "index.txt").write_text("")
        for name, subject, key, issuer, begin, days in (
            ("root", "/CN=Root", "ec", "", -60, 400),
            ("rsa", "/CN=RSA Root", "rsa:2048", "", -60, 400),
            ("twin", "/CN=Root", "ec", "", -60, 400),
            ("old", "/CN=Old", "ec", "", -60, 30),
            ("sub", "/CN=Sub", "ec", "root", -60, 300),
        ):
            self._request(name, subject, key)
            by = self._by(issuer) if issuer else ("-selfsign", "-keyfile", f"{name}.key")
            config = CONFIG.format(copy="copyall", usage="", san="", more="")
            self._sign(f"{name}.csr", f"{name}.pem", config, by, (begin, days), ())

    def _request(self, name: str, subject: str, key: str) -> None:
        curve = ("-pkeyopt", "ec_paramgen_curve:P-256") if key == "ec" else ()
        extensions = [part for one in CA for part in ("-addext", one)]
        self.run(
            *("req", "-new", "-newkey", key, *curve, "-nodes", "-keyout", f"{name}.key"),
            *("-subj", subject, "-out", f"{name}.csr", *extensions),
        )

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            [OPENSSL, *arguments],
            cwd=self.folder,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr.decode()

    def _by(self, issuer: str) -> tuple[str, ...]:
        return ("-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.key")

    def _sign(
        self,
        request: str,
        out: str,
        config: str,
        issuer: tuple[str, ...],
        validity: tuple[int, int],
        options: tuple[str, ...],
    ) -> None:
        (self.folder / "ca.cnf").write_text(config)
        begin, days = validity
        start = NOW + timedelta(days=begin)
        dates = (f"{one:%Y%m%d%H%M%SZ}" for one in (start, start + timedelta(days=days)))
        self.run(
            *("ca", "-batch", "-notext", "-config", "ca.cnf", "-in", request, "-out", out),
            *("-startdate", next(dates), "-enddate", next(dates), *issuer, *options),
        )

    def leaf(self, row: Row, days: int) -> bytes:
        """The certificate that the CA makes from our request."""
        names = "DNS:gateway.local" if "subjectAltName" not in row.drop else ""
        extensions = CONFIG.format(
            copy="none",
            usage=row.usage,
            san=f"subjectAltName = {names}" if names else "",
            more=row.more,
        )
        if row.drop:
            lines = extensions.splitlines()
            kept = [one for one in lines if not one.startswith(row.drop) or one == row.more]
            extensions = "\n".join(kept)
        options: tuple[str, ...] = ("-extensions", "leaf", "-md", row.md)
        if row.subject:
            options += ("-subj", row.subject)
        issuer = self._by(row.issuer)
        self._sign("request.pem", "leaf.pem", extensions, issuer, (row.begin, days), options)
        return (self.folder / "leaf.pem").read_bytes()

    def certificate(self, name: str) -> bytes:
        return (self.folder / f"{name}.pem").read_bytes()

    def judge(self, row: Row) -> Judgement:
        """Make the request, have it signed, and judge the result."""
        key = key_of(row.key)
        role = "both"  # the request asks for all; what the CA gives is the row's
        request = build(key, RequestSpec("CN=gateway", ("dns:gateway.local",), role))
        (self.folder / "request.pem").write_bytes(request.public_bytes(Encoding.PEM))
        previous = None if row.renews is None else read_bundle(self.leaf(row, row.renews))[0]
        bundle = b"".join(map(self.certificate, row.given)) + self.leaf(row, row.days)
        judged = key_of("RSA" if row.key == "EC" else "EC") if row.another_key else key
        return judge(
            read_bundle(bundle),
            public_key=judged.public_key(),
            trust=[read_bundle(self.certificate(one))[0] for one in row.trust],
            role=row.role,
            now=NOW,
            proof=Proof(judged),
            request=request,
            previous=previous,
        )


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return Plant(tmp_path_factory.mktemp("plant"))


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])
def test_what_openssl_ca_signs(plant: Plant, row: Row, tmp_path: Path) -> None:
    judgement = plant.judge(row)
    said = "\n".join(f"{one.state} {one.name}: {one.text}" for one in judgement.verdicts)
    assert {one.name for one in judgement.verdicts if one.state == "fail"} == row.fails, said
    assert {one.name for one in judgement.verdicts if one.state == "warn"} == row.warns, said
    assert judgement.acceptable == (not row.fails)
    if judgement.acceptable:  # and so it works: the peer is Python's ssl
        trust = [read_bundle(plant.certificate(one))[0] for one in row.trust]
        strict = not row.warns
        for role in ("client", "server") if row.role == "both" else (row.role,):
            key = key_of(row.key)
            assert handshake(tmp_path, role, key, judgement.chain, trust, strict=strict) is None
