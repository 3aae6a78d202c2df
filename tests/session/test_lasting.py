"""Sessions that last: files read again, revoked peers, a TPM that comes and goes, new tries."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from support.pki import Ca, SoftwareIdentity
from support.setting import Setting, serving, until
from support.swtpm import SwtpmAlone
from support.waiting import wait_until
from support.world import LOCAL, SoftwareServer, TpmKeys, World, connected, port_of, say

from tpmconsole.board.lines import event_line
from tpmconsole.cli.next_steps import say as in_commands
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.session import directory
from tpmconsole.session.directory import STATE, SessionConfig, read_order, with_given, write_order
from tpmconsole.session.events import FILE
from tpmconsole.session.manager import SessionManager
from tpmconsole.session.process import client as client_module
from tpmconsole.session.process.client import Client, backoff_s
from tpmconsole.session.service import unit_of
from tpmconsole.session.spec import PasswordFiles, SessionSpec
from tpmconsole.session.status import SessionStatus, State
from tpmconsole.session.tls.crl import CRL_BYTES
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.system.files import make_private_folder
from tpmconsole.system.processes import boot_id
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef


def revoking(ca: Ca, *names: str, days: tuple[int, int] = (-1, 10), form: str = "pem") -> bytes:
    """A list that revokes certificates given as PEM."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(
        ca.certificate.subject, now + timedelta(days=days[0]), now + timedelta(days=days[1])
    )
    for pem in names:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        entry = x509.RevokedCertificateBuilder(certificate.serial_number, now)
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(ca.key, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM if form == "pem" else Encoding.DER)


# Files that change


def test_a_reload_takes_a_new_certificate_and_drops_no_connection(world: World) -> None:
    credentials = world.credentials()
    server = world.server(credentials=credentials)
    peer, port = world.software(), port_of(server)

    def serial() -> int:
        with connected(peer, port) as tls:
            return int(str((tls.getpeercert() or {})["serialNumber"]), 16)

    with connected(peer, port) as held:
        assert say(held, "PING 1") == "PONG 1"
        first = serial()
        good = credentials.certificate.read_bytes()
        credentials.certificate.write_bytes(world.ca.issue(world.keys.public["ec-p256"], "new"))
        assert world.supervisor.reload(server.id).state == State.RUNNING
        assert serial() != first
        told = world.wait_for(server.id, lambda event: event["event"] == "reloaded")
        assert "reloaded   certificate CN=new, until 20" in event_line(told)
        # What cannot be used changes nothing.
        second = serial()
        for wrong, words in (
            (world.ca.issue(world.keys.public["ec-p384"], "other"), "do not belong together"),
            (b"rubbish", "no readable certificate"),
        ):
            credentials.certificate.write_bytes(wrong)
            with pytest.raises(ConsoleError, match=words) as caught:
                world.supervisor.reload(server.id)
            assert "keeps using the previous files" in caught.value.cause
        assert serial() == second
        credentials.certificate.write_bytes(good)
        assert say(held, "PING 2") == "PONG 2"
    world.supervisor.stop(server.id)
    with pytest.raises(ConsoleError, match="not running"):
        world.supervisor.reload(server.id)


# Revoked peers


@pytest.mark.parametrize("form", ["pem", "der"])
async def test_a_server_refuses_a_revoked_client_and_takes_another(
    setting: Setting, form: str
) -> None:
    crl = setting.folder / "crl"
    crl.write_bytes(revoking(setting.ca, setting.peer.certificate.read_text(), form=form))
    other = SoftwareIdentity.make(setting.folder / "other", setting.ca, "other")
    async with serving(setting.running("server", crl=crl)) as live:
        reader, _ = await setting.connect(live)
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.revoked"):
            await reader.readline()
        await until(setting.errors)
        assert "has been revoked" in setting.errors()[0]["cause"]
        setting.peer = other
        reader, writer = await setting.connect(live)
        writer.write(b"PING 1\n")
        assert await reader.readline() == b"PONG 1\n"
        writer.close()


async def test_a_client_refuses_a_revoked_server(setting: Setting) -> None:
    crl = setting.folder / "crl"
    crl.write_bytes(revoking(setting.ca, setting.peer.certificate.read_text()))
    with SoftwareServer(setting.peer.context(server=True)) as server:
        running = setting.running("client", server.port, count=1, crl=crl)
        with pytest.raises(ConsoleError, match="has been revoked"):
            await Client(running).run()


async def test_who_is_not_on_any_list_is_not_taken_on_trust(setting: Setting) -> None:
    crl = setting.folder / "crl"
    crl.write_bytes(revoking(Ca.make("elsewhere")))
    async with serving(setting.running("server", crl=crl)) as live:
        reader, _ = await setting.connect(live)
        with pytest.raises(ssl.SSLError):
            await reader.readline()
        await until(setting.errors)
        assert "no revocation list" in setting.errors()[0]["cause"]


def test_lists_that_are_none_or_too_old(setting: Setting) -> None:
    crl = setting.folder / "crl"
    for content, words in (
        (b"rubbish", "no readable certificate revocation list"),
        (b"-----BEGIN X509 CRL-----\nrubbish", "no readable certificate revocation list"),
        (revoking(setting.ca, days=(-9, -2)), "every peer would be refused"),
    ):
        crl.write_bytes(content)
        with pytest.raises(ConsoleError, match=words):
            setting.running("server", crl=crl)


# Trying again


def test_the_waits_double_from_one_second_to_sixty() -> None:
    for failures, (least, most) in {1: (1, 1.34), 3: (4, 5.34), 9: (45, 60), 99: (45, 60)}.items():
        waits = {backoff_s(failures) for _ in range(50)}
        assert least <= min(waits)
        assert max(waits) <= most
        assert len(waits) > 40  # not all clients at once


@pytest.mark.parametrize("count", [None, 3])
async def test_a_client_gives_up_after_as_many_tries_as_it_was_told(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, count: int | None
) -> None:
    monkeypatch.setattr(client_module, "SHORTEST_WAIT_S", 0.001)
    with SoftwareServer(setting.peer.context(server=True)) as server:
        port = server.port
    running = setting.running("client", port, count=count, retries=2)
    with pytest.raises(ConsoleError, match="Connection refused"):
        await Client(running).run()
    assert running.live.facts.reconnects == 2


async def test_what_a_client_waits_for_is_told(setting: Setting) -> None:
    with SoftwareServer(setting.peer.context(server=True)) as server:
        port = server.port
    running = setting.running("client", port)
    task = asyncio.create_task(Client(running).run())
    await until(lambda: running.live.facts.retry_at)
    facts = running.live.facts
    assert facts.waiting_for == "peer"
    assert datetime.fromisoformat(facts.retry_at or "") > datetime.now(UTC) - timedelta(seconds=2)
    task.cancel()
    running.live.stop("it was told to")
    assert (running.live.facts.waiting_for, running.live.facts.retry_at) == (None, None)


# A TPM that comes and goes


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[tuple[World, SwtpmAlone, Tpm]]:
    """A TPM without a resource manager, and a world on it."""
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"raw{os.getpid()}"
    folder.mkdir()
    alone = SwtpmAlone(folder)
    tpm = Tpm(alone.ensure, tmp_path / "tpm.log")
    try:
        pem = tpm.create(Algorithm.EC_P256)
        public = load_pem_public_key(tpm.public_pem(KeyRef(pem=pem)))
        keys = TpmKeys(alone.connection, {"ec-p256": KeyRef(pem=pem)}, {"ec-p256": public})  # type: ignore[dict-item]
        supervisor = SessionManager(tmp_path / "sessions", tmp_path / "console.log")
        yield World(tmp_path, keys, Ca.make("root"), supervisor), alone, tpm
        for facts in supervisor.list():
            supervisor.stop(facts.id)
    finally:
        tpm.close()
        alone.kill()
        shutil.rmtree(folder)


def test_a_session_without_a_resource_manager(raw: tuple[World, SwtpmAlone, Tpm]) -> None:
    world, alone, tpm = raw
    server = world.server(engine="bridge")
    peer, port = world.software(), port_of(server)
    with connected(peer, port) as held:
        assert say(held, "PING 1") == "PONG 1"
        assert tpm.health().transient.used == 1  # type: ignore[union-attr]
        alone.reset()
        with connected(peer, port) as tls:
            assert say(tls, "PING 2") == "PONG 2"
        alone.kill()
        with pytest.raises((ssl.SSLError, OSError, EOFError)), connected(peer, port) as tls:
            say(tls, "PING 3")
        told = world.wait_for(server.id, lambda event: event["event"] == "error")
        assert told["code"] == ExitCode.NO_TPM
        wait_until(lambda: world.supervisor.show(server.id).waiting_for == "tpm")
        alone.start()
        with connected(peer, port) as tls:
            assert say(tls, "PING 4") == "PONG 4"
        assert say(held, "PING 5") == "PONG 5"
    wait_until(lambda: world.supervisor.show(server.id).waiting_for is None)
    # Killed, it is noticed, and takes its key with it.
    assert server.pid is not None
    signer = psutil.Process(world.supervisor.show(server.id).signer_pid or 0)
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: world.supervisor.show(server.id).state == State.FAILED, seconds=2)
    wait_until(lambda: tpm.health().transient.used == 0, seconds=2)  # type: ignore[union-attr]
    wait_until(lambda: not signer.is_running(), seconds=2)


# Units


def test_a_service_may_take_so_much_of_the_board_and_no_more(world: World) -> None:
    server = world.server()
    folder = world.folder / "sessions" / server.id
    order = replace(read_order(folder), connection=Connection("device:/dev/tpmrm0", "test"))
    unit = unit_of(folder, order, PasswordFiles()).unit
    assert unit is not None
    bounds = dict(unit.service)
    assert {"LimitNOFILE", "LimitCORE", "TasksMax", "MemoryMax"} <= bounds.keys()
    # What it writes itself fits: its greatest file is its lists, as PEM, in memory.
    assert int(bounds["LimitFSIZE"].removesuffix("M")) << 20 >= CRL_BYTES * 1.4
    assert server.pid is not None
    limit = 2000
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, limit))
    with connected(world.software(), port_of(server)) as tls:
        for number in range(40):  # more than it may write about
            assert say(tls, f"PING {number}") == f"PONG {number}"
    events = folder / STATE / FILE
    wait_until(lambda: world.supervisor.show(server.id).connections == 0)
    assert limit // 2 < events.stat().st_size <= limit
    assert world.supervisor.show(server.id).state == State.RUNNING


def test_the_unit_of_a_session(world: World) -> None:
    credentials = world.credentials()
    crl = world.folder / "crl.pem"
    crl.write_bytes(revoking(world.ca))
    server = world.server(credentials=credentials, crl=str(crl))
    with pytest.raises(ConsoleError, match="simulated"):
        world.supervisor.unit(server.id, PasswordFiles())
    assert world.supervisor.of_identity("ec-p256") == server.id
    folder = world.folder / "sessions" / server.id
    order = read_order(folder)
    order = replace(order, connection=Connection("device:/dev/tpmrm0", "test"))
    wanted = unit_of(
        folder, order, PasswordFiles(Path("/etc/key.password"), Path("/etc/50% owner"))
    )
    text = wanted.files()[Path(f"/etc/systemd/system/tpmconsole-{server.id}.service")]
    for line in (
        "DynamicUser=yes",
        f"StateDirectory=tpmconsole-{server.id}",
        f"LoadCredential=order.json:{folder}/order.json",
        f"LoadCredential=key.pem:{folder}/key.pem",
        "SupplementaryGroups=tss",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "DeviceAllow=char-tpm rw",
        "CapabilityBoundingSet=",
        "StandardInput=file:/etc/key.password",
        "LoadCredential=owner:/etc/50%% owner",
        "Restart=on-failure",
        "RestartPreventExitStatus=4",
        'ExecReload=/bin/sh -c "kill -HUP $$MAINPID"',
    ):
        assert line in text.splitlines()
    given = Path("/run/tpmconsole") / server.id
    assert f" {credentials.certificate} {given}/certificate.pem" in text
    assert f" {crl} {given}/crl.pem" in text
    copies = with_given(order, given)
    assert copies.credentials.trust == given / "trust.pem"
    assert copies.spec.crl == str(given / "crl.pem")
    with pytest.raises(ConsoleError, match="is running"):
        world.supervisor.check_ended(server.id)


def test_a_session_that_is_handed_over_runs_from_what_systemd_gives_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd would start it: again and again, with the same order and the same state."""
    monkeypatch.setattr(directory, "SERVICES", world.folder / "lib")
    credentials = world.credentials()
    server = world.server(credentials=credentials)
    world.supervisor.stop(server.id)
    world.supervisor.hand_over(server.id)
    assert world.supervisor.show(server.id).state == State.STOPPED
    assert world.supervisor.stop(server.id).state == State.STOPPED
    assert list(world.supervisor.events(server.id)) == []
    folder = world.folder / "sessions" / server.id
    given, told = world.folder / "given", world.folder / "credentials"
    said = make_private_folder(world.folder / "lib" / f"tpmconsole-{server.id}")
    for copies in (given, told):
        copies.mkdir()
    for name in ("certificate", "trust"):
        shutil.move(getattr(credentials, name), given / f"{name}.pem")
    for name in ("order.json", "key.pem"):
        shutil.copy(folder / name, told)
    places = {"CREDENTIALS_DIRECTORY": str(told), "STATE_DIRECTORY": str(said)}
    environment = {**os.environ, **world.keys.connection.environment, **places}
    command = [sys.executable, "-P", "-m", "tpmconsole.session.process", "--service", str(given)]
    for _ in range(2):
        with (
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process,
            ExitStack() as stack,
        ):
            stack.callback(process.terminate)  # else a failure here would wait for it
            wait_until(lambda: world.supervisor.show(server.id).state == State.RUNNING)
            # It would read its copies again, of which only its unit makes new ones.
            with pytest.raises(ConsoleError, match="systemd runs server-1") as refused:
                world.supervisor.reload(server.id)
            assert f"systemctl reload tpmconsole-{server.id}.service" in in_commands(
                refused.value.remedy
            )
            facts = world.supervisor.show(server.id)
            assert (facts.pid, facts.unit) == (process.pid, f"tpmconsole-{server.id}.service")
            with connected(world.software(), port_of(facts)) as tls:
                assert say(tls, "PING 1") == "PONG 1"
            assert world.supervisor.stop(server.id).state == State.STOPPED
            assert process.wait() == 0


def test_what_a_password_does_to_a_session_of_systemd_s(world: World) -> None:
    """Its first line is read; with a wrong one, or none, systemd is told not to begin again."""
    with SoftwareServer(world.software().context(server=True)) as server:
        spec = SessionSpec("client", "password", LOCAL, server.port, count=1, retries=0)
        engine = EngineChoice("bridge", "test")
        order = SessionConfig(
            spec, world.credentials("password"), world.keys.connection, engine, boot_id()
        )
        folder = make_private_folder(world.folder / "sessions" / "client-1")
        write_order(folder, order, SessionStatus("client-1", "client", "password", spec.address))

        def run(password: bytes) -> int:
            file = world.folder / "password"
            file.write_bytes(password)
            with file.open("rb") as given:
                return subprocess.run(
                    [sys.executable, "-P", "-m", "tpmconsole.session.process", str(folder)],
                    env={**os.environ, **world.keys.connection.environment},
                    stdin=given,
                    stderr=subprocess.DEVNULL,
                    check=False,
                ).returncode

        assert [run(wrong) for wrong in (b"wrong\n", b"")] == [ExitCode.REFUSED] * 2
        assert run(b"open sesame\r\nof the gateway\r\n") == ExitCode.YES
    assert run(b"open sesame\n") == ExitCode.NO  # nobody is there to connect to
