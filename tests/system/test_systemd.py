"""systemd units: systemd itself accepts their text, and installing one is careful."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError
from tpmconsole.session import service
from tpmconsole.session.condition import ended_without_a_word
from tpmconsole.session.directory import SessionConfig
from tpmconsole.session.service import unit_of
from tpmconsole.session.spec import Credentials, PasswordFiles, SessionSpec
from tpmconsole.session.tls.engine import EngineChoice
from tpmconsole.system import systemd
from tpmconsole.system.systemd import HARDENED, Unit, UnitFiles, command_line, quoted
from tpmconsole.tpm.model import Connection, KeyRef


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder for the test, with systemd programs that only print their arguments."""
    monkeypatch.setattr(systemd, "UNITS", tmp_path / "system")
    monkeypatch.setattr(systemd, "USERS", tmp_path / "sysusers.d")
    for name in ("systemctl", "systemd-sysusers"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n')
        program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name))
    return tmp_path


def sample(command: str = "/bin/true") -> UnitFiles:
    service = (("User", "tpmconsole"), ("ExecStart", command), *HARDENED)
    unit = Unit("tpmconsole-x.service", (("Description", "x"),), service)
    return UnitFiles(unit, "tpmconsole", ("tss",))


def test_nothing_in_a_command_is_expanded() -> None:
    assert command_line(["/bin/a", Path("/b c"), "50%", "$HOME", 'say "x"', "back\\slash"]) == (
        '/bin/a "/b c" "50%%" "$$HOME" "say \\"x\\"" "back\\\\slash"'
    )
    assert quoted("A=$x %h") == '"A=$x %%h"'
    with pytest.raises(ConsoleError, match="Not for systemd"):
        command_line(["/bin/a", "two\nlines"])


def session_unit(port: int, engine: str, tcti: str) -> Unit:
    """A session's unit."""
    identity = Path("/var/lib/tpmconsole/identities/a b")
    spec = SessionSpec("server", "a b", "0.0.0.0", port, crl="/etc/crl.pem")  # noqa: S104 - a text
    key = KeyRef(handle=0x81000001)
    wanted = unit_of(
        Path("/var/lib/tpmconsole/sessions/server-1"),
        SessionConfig(
            spec,
            Credentials("a b", key, identity / "certificate.pem", identity / "trust.pem"),
            Connection(tcti, "test"),
            EngineChoice(engine, "test"),
            "boot",
        ),
        PasswordFiles(
            *map(Path, ("/etc/tpmconsole/50% password", "/etc/50% owner", "/etc/parent"))
        ),
    )
    assert wanted.unit is not None
    return wanted.unit


@pytest.mark.long
@pytest.mark.parametrize(
    "unit",
    [
        sample(command_line(["/bin/echo", "a b", "50%", "$HOME"])).unit,
        session_unit(443, "provider", "device:/dev/tpmrm0"),
        session_unit(8443, "bridge", "tabrmd:bus_type=system"),
    ],
)
def test_systemd_finds_nothing_wrong(tmp_path: Path, unit: Unit) -> None:
    file = tmp_path / unit.name
    file.write_text(unit.text())
    asked = subprocess.run(
        ["/usr/bin/systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in asked.stderr.splitlines() if file.name in line]
    assert not ours, asked.stderr


def test_root_writes_where_the_session_may_not() -> None:
    """Commands that run as root ("+") use only root's files, at the start and at each reload."""
    unit = session_unit(8443, "bridge", "device:/dev/tpmrm0")
    by_root = [value for _, value in unit.service if value.startswith("+")]
    assert len(by_root) == 2 * 3 + 1
    targets = {shlex.split(value)[-1] for value in by_root}
    given = "/run/tpmconsole/server-1"
    names = ("certificate", "trust", "crl")
    assert targets == {given, *(f"{given}/{name}.pem" for name in names)}
    assert ("StateDirectory", "tpmconsole-server-1") in unit.service
    assert ("DynamicUser", "yes") in unit.service
    writable = {"User", "BindPaths", "BindReadOnlyPaths", "ReadWritePaths"}
    assert not writable & dict(unit.service).keys()


def test_a_session_with_the_provider_finds_its_configuration() -> None:
    unit = session_unit(8443, "provider", "device:/dev/tpmrm0")
    told = "/var/lib/tpmconsole/sessions/server-1/openssl.cnf"
    assert ("LoadCredential", f"openssl.cnf:{told}") in unit.service
    assert ("Environment", "OPENSSL_CONF=%d/openssl.cnf") in unit.service


@pytest.mark.long
def test_systemd_finds_the_unit_little_exposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_HOMES", ())  # as on a board, where it is below /opt
    unit = session_unit(8443, "bridge", "device:/dev/tpmrm0")
    file = tmp_path / unit.name
    file.write_text(unit.text())
    asked = subprocess.run(
        ["/usr/bin/systemd-analyze", "security", "--offline=true", "--no-pager", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r": (\d+\.\d) ", asked.stdout)
    assert found, asked.stderr
    assert float(found[1]) <= 1.7


def test_a_session_of_systemds_that_was_killed_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "session.log").write_text("of the time before systemd had it\n")
    told = ended_without_a_word(tmp_path, Path("/log"), "tpmconsole-server-1.service")
    assert "log" not in told.cause
    assert "systemd starts it again" in say(told.remedy)
    assert "journalctl -u tpmconsole-server-1.service" in say(told.remedy)


def test_only_a_low_port_takes_a_capability() -> None:
    low, high = (session_unit(port, "bridge", "device:/dev/tpmrm0") for port in (443, 8443))
    assert ("AmbientCapabilities", "CAP_NET_BIND_SERVICE") in low.service
    assert ("CapabilityBoundingSet", "") in high.service
    assert "AmbientCapabilities" not in dict(high.service)


def test_installing_writes_the_unit_and_its_user(places: Path) -> None:
    done = sample()
    assert systemd.install(done) == list(done.files())
    file = places / "system" / "tpmconsole-x.service"
    assert done.unit
    assert file.read_text() == done.unit.text()
    assert file.stat().st_mode & 0o777 == 0o644
    user = (places / "sysusers.d" / "tpmconsole.conf").read_text()
    assert user.splitlines() == ['u tpmconsole - "tpmconsole"', "m tpmconsole tss"]
    assert "systemd-sysusers" in (places / "calls").read_text()
    assert "enable --now tpmconsole-x.service" in done.start
    assert f"rm {file}" in done.undo


def test_what_stands_in_the_way_is_told(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (places / "systemd-sysusers").write_text("#!/bin/sh\necho no room for users >&2\nexit 1\n")
    with pytest.raises(ConsoleError, match="no room for users"):
        systemd.install(sample())
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConsoleError, match="No systemd"):
        systemd.install(sample())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConsoleError, match="only root") as caught:
        systemd.install(sample())
    assert "--dry-run" in say(caught.value.remedy)


def test_who_may_reach_a_file(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir(mode=0o755)
    file = inner / "file"
    file.touch(0o644)
    assert systemd.reachable_by_others(Path("/bin/sh"))
    inner.chmod(0o700)
    assert not systemd.reachable_by_others(file)
