"""A list of revoked certificates that ends: shown, warned of, and told when it has ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import Ca
from support.shell import Shell
from support.technician import console
from support.waiting import wait_until
from support.world import World

from tpmconsole.board import Board
from tpmconsole.board.doctor import examine
from tpmconsole.board.doctor.probes import PROBES
from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError
from tpmconsole.session.directory import STATE, SessionConfig, new_folder, write_facts
from tpmconsole.session.ownership import hold_lock
from tpmconsole.session.revocation import crl_finding
from tpmconsole.session.spec import Credentials, SessionSpec
from tpmconsole.session.status import CrlInfo, SessionStatus, State
from tpmconsole.session.tls.crl import RevocationLists
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.settings import Settings
from tpmconsole.system.processes import boot_id, start_time
from tpmconsole.tpm.model import Connection, KeyRef

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ENDS_SOON, ENDED = "then every peer is refused", "every peer is refused"


def a_list(ca: Ca, made: datetime, end: datetime) -> bytes:
    builder = x509.CertificateRevocationListBuilder(ca.certificate.subject, made, end)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def session_with(made: datetime, end: datetime, **more: object) -> SessionStatus:
    crl = CrlInfo("CN=root", made.isoformat(), end.isoformat())
    facts = SessionStatus("server-1", "server", "gateway", "h:1", state=State.RUNNING, crl=crl)
    return replace(facts, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "end", "state"),
    [
        (-1, 100, "ok"),
        (-71, 29, "warn"),  # warn_days is 30
        (-1, 29, "ok"),  # issued for a month: in the second half of it
        (-20, 10, "warn"),
        (-1, 6, "ok"),  # a weekly one
        (-4, 3, "warn"),
        (0, 1 / 1440, "warn"),  # in a minute
        (-30, 0, "fail"),
        (-30, -1, "fail"),
    ],
)
def test_when_its_end_is_warned_of(made: float, end: float, state: str) -> None:
    facts = session_with(NOW + timedelta(days=made), NOW + timedelta(days=end))
    finding = crl_finding(facts, NOW, 30)
    assert finding is not None
    assert finding.state == state
    assert (say(finding.remedy) != "") is (state != "ok")
    assert crl_finding(replace(facts, state=State.STOPPED), NOW, 30) is None


def test_the_number_of_days_is_a_setting_and_a_service_is_reloaded_by_systemd() -> None:
    facts = session_with(NOW - timedelta(days=90), NOW + timedelta(days=10))
    assert (found := crl_finding(facts, NOW, 5)) is not None
    assert found.state == "ok"
    served = replace(facts, unit="tpmconsole-server-1.service")
    assert (found := crl_finding(served, NOW, 30)) is not None
    assert "systemctl reload tpmconsole-server-1.service" in say(found.remedy)
    assert crl_finding(replace(facts, crl=None), NOW, 30) is None
    assert crl_finding(replace(facts, crl=CrlInfo("x", "?", "?")), NOW, 30) is None


def test_the_list_that_ends_first_counts(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    file = tmp_path / "crl.pem"
    file.write_bytes(
        a_list(Ca.make("late"), now, now + timedelta(days=9))
        + a_list(Ca.make("early"), now, now + timedelta(days=2))
    )
    first = RevocationLists.read(file).first_to_end()
    assert first is not None
    assert first.issuer == "CN=early"


def test_a_session_says_when_its_list_has_ended(world: World) -> None:
    now = datetime.now(UTC)
    crl = world.folder / "crl.pem"
    crl.write_bytes(a_list(world.ca, now - timedelta(days=1), now + timedelta(seconds=4)))
    server = world.server(crl=str(crl))
    assert server.crl is not None
    assert server.last_error is None
    wait_until(lambda: world.supervisor.show(server.id).last_error is not None)
    told = world.supervisor.show(server.id).last_error
    assert told is not None
    assert told.title == "Revocation list expired"
    assert ENDED in told.cause
    assert say(told.remedy).endswith(f"(tpmconsole session reload {server.id})")
    with pytest.raises(ConsoleError, match="Revocation list expired"):
        world.supervisor.reload(server.id)
    crl.write_bytes(a_list(world.ca, now, now + timedelta(days=40)))
    facts = world.supervisor.reload(server.id)
    assert facts.crl is not None
    assert facts.crl.next_update[:10] == f"{now + timedelta(days=40):%Y-%m-%d}"


@pytest.fixture
def board(settings: Callable[..., Settings]) -> Board:
    return Board(settings(tcti="device:/nowhere", tcti_source="--tcti"))


def add_session(board: Board, end: timedelta) -> None:
    """A session at work, whose process is this test's."""
    credentials = Credentials("gateway", KeyRef(handle=0x81000010), Path("c"), Path("t"))
    connection, choice = Connection("device:/nowhere", "test"), EngineChoice("bridge", "test")
    spec = SessionSpec("server", "gateway", "127.0.0.1", 9)
    order = SessionConfig(spec, credentials, connection, choice, boot_id())
    folder = new_folder(board.settings.sessions, order)
    now = datetime.now(UTC)
    facts = session_with(now - timedelta(days=90), now + end, id=folder.name)
    facts = replace(facts, pid=os.getpid(), start_time=start_time(os.getpid()), address="h:9")
    write_facts(folder / STATE, order.boot, facts)
    hold_lock(folder / STATE)


async def test_every_place_shows_it(board: Board) -> None:
    for end in (timedelta(days=200), timedelta(minutes=1), timedelta(seconds=-1)):
        add_session(board, end)
    found = list(examine(board, probes=[one for one in PROBES if one.name == "crl"]))
    assert [one.state for one in found] == ["ok", "warn", "fail"]
    assert "server-1: until " in found[0].text
    shell = Shell(board.settings.state)
    assert "next_update" in shell("session", "show", "server-2", "--json").stdout
    assert "next_update" in shell("session", "show", "server-2").stdout
    until = f"CRL until {datetime.now(UTC) + timedelta(days=200):%Y-%m-%d}"
    async with console(board.settings) as technician:
        await technician.sees(until)
        await technician.sees("CRL ENDS")
        await technician.sees("CRL ENDED")
        await technician.press("4")
        await technician.sees("CRL  ")
        await technician.press("5")
        await technician.sees("n goes to the next")
        for _ in range(6):  # the last one goes to the first again
            await technician.press("n")
            await technician.idle()
            if "server-3: the CRL of CN=root expired" in technician.screen():
                return
        pytest.fail(technician.screen())


async def test_without_a_list_nothing_is_claimed(board: Board) -> None:
    (found,) = examine(board, probes=[one for one in PROBES if one.name == "crl"])
    assert found.state == "skipped"
