"""The real cause, where Python's ssl has only "PEM lib" and "EVP lib" to say."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from support.pki import Ca
from support.setting import Setting, serving, until
from support.swtpm import SwtpmAlone
from support.world import LOCAL, SoftwareServer, TpmKeys, World, answer_lines

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session.manager import SessionManager
from tpmconsole.session.process.client import Client
from tpmconsole.session.status import State
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, KeyRef
from tpmconsole.tpm.worker.jobs.context import Context
from tpmconsole.tpm.worker.jobs.templates import storage_key


async def refusal(setting: Setting, port: int, **options: Any) -> ConsoleError:
    running = setting.running("client", port, count=1, **options)
    with pytest.raises(ConsoleError) as caught:
        await Client(running).run()
    return caught.value


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """A context of ten years ago."""
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_too_old_a_protocol_on_either_side(setting: Setting) -> None:
    with SoftwareServer(old(setting.peer.context(server=True))) as server:
        error = await refusal(setting, server.port)
        assert "TLS versions" in error.cause
    async with serving(setting.running("server")) as live:
        port = int(live.facts.address.rpartition(":")[2])
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(LOCAL, port, ssl=old(setting.peer.context(server=False)))
        await until(setting.errors)
        assert "TLS versions that we do not allow" in setting.errors()[0]["cause"]


async def test_a_chain_with_a_key_that_is_too_weak(setting: Setting) -> None:
    weak = Ca.make("weak", rsa.generate_private_key(65537, 1024))  # noqa: S505 - to be refused
    key = load_pem_private_key(setting.peer.key.read_bytes(), None)
    setting.peer.certificate.write_bytes(weak.issue(key.public_key(), "peer"))  # type: ignore[arg-type]
    setting.ours.trust.write_bytes(weak.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.load_cert_chain(setting.peer.certificate, setting.peer.key)
    with SoftwareServer(context) as server:
        error = await refusal(setting, server.port)
        assert error.title == "Peer not trusted"
        assert "too weak" in error.cause


async def test_the_host_is_named_to_the_server_and_checked(setting: Setting) -> None:
    asked: list[str | None] = []
    context = setting.peer.context(server=True)
    context.sni_callback = lambda _, name, __: asked.append(name)
    with SoftwareServer(context, answer_lines) as server:
        running = setting.running("client", server.port, host="localhost", count=1)
        await Client(running).run()
        # An address is checked, but not told (RFC 6066, 3).
        running = setting.running("client", server.port, count=1)
        await Client(running).run()
        key = load_pem_private_key(setting.peer.key.read_bytes(), None)
        pem = setting.ca.issue(key.public_key(), "peer", hosts=("127.0.0.1",))  # type: ignore[arg-type]
        setting.peer.certificate.write_bytes(pem)
        context.load_cert_chain(setting.peer.certificate, setting.peer.key)
        assert (await refusal(setting, server.port, host="localhost")).title == "Wrong name"
    assert asked == ["localhost", None, "localhost"]


@pytest.fixture
def alone() -> Iterator[SwtpmAlone]:
    folder = Path(tempfile.mkdtemp(prefix="raw"))
    swtpm = SwtpmAlone(folder)
    swtpm.ensure()
    try:
        yield swtpm
    finally:
        swtpm.kill()
        shutil.rmtree(folder)


def world_on(alone: SwtpmAlone, folder: Path, tpm: Tpm, password: bytes | None = None) -> World:
    pem = tpm.create(Algorithm.EC_P256, Auth(password))
    public = load_pem_public_key(tpm.public_pem(KeyRef(pem=pem)))
    keys = TpmKeys(alone.connection, {"key": KeyRef(pem=pem)}, {"key": public})  # type: ignore[dict-item]
    return World(folder, keys, Ca.make("root"), SessionManager(folder / "sessions", folder / "log"))


def test_a_tpm_without_room_or_locked_out_is_told_before_anything_runs(
    alone: SwtpmAlone, tmp_path: Path
) -> None:
    tpm = Tpm(alone.ensure, tmp_path / "tpm.log")
    try:
        world = world_on(alone, tmp_path, tpm, b"right")
        password = {"key": "key", "password": b"right", "engine": "bridge"}
        hog = Context(alone.connection.tcti)
        loaded = hog.run(fill)
        with pytest.raises(ConsoleError) as caught:
            world.client(9, **password)  # type: ignore[arg-type]
        assert "room" in f"{caught.value.title} {caught.value.cause}"
        hog.run(lambda esapi: [esapi.flush_context(one) for one in loaded])
        hog.close()
        wrong = Auth(b"wrong")
        for _ in range(2):
            tpm.check_key(world.keys.sources["key"], wrong)
        # The last try is not spent unasked, right or wrong.
        with pytest.raises(ConsoleError, match="One attempt left") as last:
            world.client(9, **password)  # type: ignore[arg-type]
        assert last.value.needs == "consent"
        tpm.check_key(world.keys.sources["key"], wrong)
        with pytest.raises(ConsoleError, match="locked out") as caught:
            world.client(9, **password)  # type: ignore[arg-type]
        assert caught.value.exit_code == ExitCode.REFUSED
        assert not [one for one in world.supervisor.list() if one.state != State.FAILED]
    finally:
        tpm.close()


def fill(esapi: object) -> list[object]:
    """Primary keys in all the room that the TPM has."""
    from tpm2_pytss import TPM2B_SENSITIVE_CREATE, TSS2_Exception

    found: list[object] = []
    while True:
        try:
            found.append(esapi.create_primary(TPM2B_SENSITIVE_CREATE(), storage_key(rsa=False))[0])  # type: ignore[attr-defined]
        except TSS2_Exception:
            return found
