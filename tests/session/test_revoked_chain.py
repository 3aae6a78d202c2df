"""Revoked intermediates, with certificates and lists (CRLs) that OpenSSL has made."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.pki import SoftwareIdentity
from support.setting import Setting
from support.world import LOCAL, SoftwareServer

from tpmconsole.errors import ConsoleError
from tpmconsole.session.process.client import Client

OPENSSL = shutil.which("openssl") or "openssl"
CONFIGURATION = """
[ca]
default_ca = own
[own]
database = {folder}/index
serial = {folder}/serial
crlnumber = {folder}/crlnumber
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 10
policy = any
unique_subject = no
[any]
commonName = supplied
[ca_extensions]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf_extensions]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
authorityKeyIdentifier = keyid
[req]
distinguished_name = name
x509_extensions = ca_extensions
prompt = no
[name]
commonName = root
"""


class OpensslCa:
    """A CA as ``openssl ca`` keeps it: an index, a serial and a key."""

    def __init__(self, folder: Path, name: str, issuer: OpensslCa | None = None) -> None:
        self.folder, self.name, self.certificate = folder / name, name, folder / name / "ca.pem"
        self.folder.mkdir()
        (self.folder / "index").touch()
        for file in ("serial", "crlnumber"):
            (self.folder / file).write_text("1000\n")
        self._configuration = self.folder / "ca.cnf"
        self._configuration.write_text(CONFIGURATION.format(folder=self.folder))
        if issuer is None:
            self._openssl("req", "-x509", *self._new("ca"), "-days", "30", "-out", self.certificate)
        else:
            issuer.sign(self, "ca", "ca_extensions", self.certificate)

    def sign(self, owner: OpensslCa, key: str, extensions: str, out: Path) -> None:
        """Sign another party's request for a new key, named after the key or its CA."""
        request = owner.folder / f"{key}.csr"
        owner._openssl("req", *owner._new(key), "-out", request)
        self._openssl(
            *("ca", "-batch", "-notext", "-extensions", extensions, "-in", request, "-out", out)
        )

    def identity(self, folder: Path, *chain: OpensslCa) -> SoftwareIdentity:
        """A server's files; its certificate comes with those of the CAs above it."""
        folder.mkdir()
        made = SoftwareIdentity(folder / "chain.pem", self.folder / "leaf.key", self.certificate)
        self.sign(self, "leaf", "leaf_extensions", made.certificate)
        with made.certificate.open("ab") as file:
            file.writelines(one.certificate.read_bytes() for one in chain)
        return made

    def revoke(self, certificate: Path) -> None:
        self._openssl("ca", "-revoke", certificate)

    def list(self) -> bytes:
        out = self.folder / "crl.pem"
        self._openssl("ca", "-gencrl", "-out", out)
        return out.read_bytes()

    def _new(self, key: str) -> tuple[str | Path, ...]:
        name = self.name if key == "ca" else key
        return (
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self.folder / f"{key}.key", "-subj", f"/CN={name}"),
        )

    def _openssl(self, command: str, *arguments: str | Path) -> None:
        subprocess.run(
            [OPENSSL, command, "-config", self._configuration, *arguments],
            check=True,
            capture_output=True,
        )


class Chain:
    """root, above sub, above a server."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.root = OpensslCa(folder, "root")
        self.sub = OpensslCa(folder, "sub", self.root)
        self.server = self.sub.identity(folder / "server", self.sub)
        # Which CAs this server names to its clients is not tested here.
        self.server = replace(self.server, trust=setting.ours.trust)
        self.setting, self.crl = setting, folder / "crl.pem"
        setting.ours = replace(setting.ours, trust=folder / "trust.pem")

    async def connect(self, trust: list[OpensslCa], lists: list[bytes]) -> None:
        self.crl.write_bytes(b"".join(lists))
        self.setting.ours.trust.write_bytes(b"".join(one.certificate.read_bytes() for one in trust))
        with SoftwareServer(self.server.context(server=True)) as server:
            running = self.setting.running("client", server.port, host=LOCAL, count=1, crl=self.crl)
            await Client(running).run()


@pytest.fixture
def chain(tmp_path: Path, setting: Setting) -> Chain:
    folder = tmp_path / "openssl"
    folder.mkdir()
    return Chain(folder, setting)


@pytest.mark.attacks("a peer below a revoked intermediate", "refused")
async def test_a_revoked_intermediate_is_refused(chain: Chain) -> None:
    both = [chain.root.list(), chain.sub.list()]
    await chain.connect([chain.root], both)
    chain.root.revoke(chain.sub.certificate)
    with pytest.raises(ConsoleError, match="has been revoked"):
        await chain.connect([chain.root], [chain.root.list(), both[1]])


async def test_a_revoked_server_below_an_intermediate_is_refused(chain: Chain) -> None:
    chain.sub.revoke(chain.server.certificate)
    for lists in ([chain.root.list(), chain.sub.list()], [chain.sub.list()]):
        with pytest.raises(ConsoleError, match="has been revoked"):
            await chain.connect([chain.root], lists)


async def test_with_the_lists_of_all_an_issuer_without_one_is_refused(chain: Chain) -> None:
    with pytest.raises(ConsoleError, match="no revocation list"):
        await chain.connect([chain.root], [chain.root.list()])


@pytest.mark.parametrize("trust", ["root", "sub", "both"])
async def test_without_a_root_list_the_peers_certificate_alone_is_looked_up(
    chain: Chain, trust: str
) -> None:
    """The README says so."""
    anchors = {"root": [chain.root], "sub": [chain.sub], "both": [chain.root, chain.sub]}[trust]
    await chain.connect(anchors, [chain.sub.list()])


@pytest.mark.parametrize("trust", ["sub", "both"])
async def test_an_intermediate_that_is_itself_an_anchor_stays_trusted(
    chain: Chain, trust: str
) -> None:
    anchors = {"sub": [chain.sub], "both": [chain.root, chain.sub]}[trust]
    chain.root.revoke(chain.sub.certificate)
    await chain.connect(anchors, [chain.root.list(), chain.sub.list()])


async def test_a_server_right_below_its_root(chain: Chain, tmp_path: Path) -> None:
    chain.server = replace(chain.root.identity(tmp_path / "near"), trust=chain.server.trust)
    await chain.connect([chain.root], [chain.root.list()])
    chain.root.revoke(chain.server.certificate)
    with pytest.raises(ConsoleError, match="has been revoked"):
        await chain.connect([chain.root], [chain.root.list()])
