"""Probes that cannot fail: each is a finding, or its own error as a finding.

The order is the one in which a technician would ask. A probe that needs what an earlier one did
not find is skipped and says so.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import ssl
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.connection import Places
from tpmconsole.tpm.model import SelfTestResult, TpmHealth
from tpmconsole.words import chip_words, lockout_details, self_test_words

if TYPE_CHECKING:
    from tpmconsole.board import Board

log = logging.getLogger(__name__)

LOW_DISK = 16 * 1024 * 1024
# A board without a battery wakes up in 1970; no certificate of ours is older than this program.
FIRST_BELIEVABLE = datetime(2024, 1, 1, tzinfo=UTC)
STALE_VARIABLES = ("TPM2OPENSSL_TCTI", "TPM2OPENSSL_PARENT_AUTH", "OPENSSL_CONF")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found.

    Attributes:
        probe: what was looked at.
        state: ``ok``, ``warn``, ``fail`` or ``skipped``.
        finding: what was found, a sentence.
        remedy: what to do; empty where nothing has to be done.
    """

    probe: str
    state: str
    finding: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def examine(board: Board) -> list[Finding]:
    """Run every probe; never raises."""
    health: list[TpmHealth] = []

    def ask() -> Finding:
        health.append(board.status())
        mark = ", SIMULATED" if health[0].simulated else ""
        return Finding("tpm", "ok", f"{chip_words(health[0])}{mark}")

    findings = [
        _guarded("device", _device),
        _guarded("tpm", ask),
    ]
    for name, of_health in (
        ("self-test", _self_test),
        ("lock-out", _lockout),
        ("room", _room),
    ):
        if health:
            findings.append(_guarded(name, partial(of_health, health[0])))
        else:
            findings.append(Finding(name, "skipped", "needs a TPM that answers"))
    findings += [
        _guarded("clock", _clock),
        _guarded("openssl", _openssl),
        _guarded("engine", lambda: _engine(board)),
        _guarded("other users", lambda: _others(board)),
        *_identities(board),
        _guarded("disk", lambda: _disk(board.settings.state)),
        _guarded("environment", _environment),
        _guarded("terminal", _terminal),
        _guarded("versions", _versions),
        _guarded("packages", _packages),
    ]
    return findings


def worst(findings: Iterable[Finding]) -> str:
    """The gravest state of all."""
    states = {one.state for one in findings}
    return next((state for state in ("fail", "warn") if state in states), "ok")


def _guarded(name: str, probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except ConsoleError as error:
        return Finding(name, "fail", str(error), error.remedy)
    except Exception as error:  # a probe must not end the examination
        log.exception("probe %s", name)
        return Finding(name, "fail", f"{type(error).__name__}: {error}", "see the log file")


def _device() -> Finding:
    places = Places()
    devices = (places.device(places.managed), places.device(places.raw))
    there = [path for path in devices if path.exists()]
    if not there:
        return Finding(
            "device",
            "warn",
            "no /dev/tpmrm0 and no /dev/tpm0",
            "enable the TPM in firmware or device tree, or use --simulate",
        )
    closed = [path for path in there if not os.access(path, os.R_OK | os.W_OK)]
    if len(closed) == len(there):
        return Finding(
            "device",
            "fail",
            f"{closed[0]} is there but may not be opened by this user",
            "run: sudo usermod -aG tss $USER, and log in again",
        )
    return Finding("device", "ok", ", ".join(map(str, there)))


def _self_test(health: TpmHealth) -> Finding:
    result = health.self_test.result
    text = self_test_words(health.self_test)
    if result is SelfTestResult.FAILED:
        return Finding(
            "self-test", "fail", text, "power the board off and on; if it stays, replace"
        )
    if result is SelfTestResult.NOT_RUN:
        return Finding("self-test", "warn", text, "run: tpmconsole selftest")
    return Finding("self-test", "ok", text)


def _lockout(health: TpmHealth) -> Finding:
    if health.lockout is None:
        return Finding("lock-out", "skipped", "the TPM does not tell")
    details = lockout_details(health.lockout)
    if health.lockout.locked:
        wait = f"wait {health.lockout.interval_s} s, or reset it with the lockout authorisation"
        return Finding("lock-out", "fail", f"locked: {details}", wait)
    return Finding("lock-out", "warn" if health.lockout.failed_tries else "ok", details)


def _room(health: TpmHealth) -> Finding:
    if health.persistent is None:
        return Finding("room", "skipped", "the TPM does not tell")
    room = health.persistent
    if room.available == 0:
        return Finding("room", "warn", "no room for a persistent key", "evict one, or use files")
    return Finding("room", "ok", f"{room.used} persistent keys, room for {room.available}")


def _clock() -> Finding:
    now = datetime.now(UTC)
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < FIRST_BELIEVABLE:
        return Finding("clock", "fail", f"not believable: {text}", "set it, or let NTP set it")
    return Finding("clock", "ok", text)


def _openssl() -> Finding:
    return Finding("openssl", "ok", ssl.OPENSSL_VERSION)


def _engine(board: Board) -> Finding:
    from tpmconsole.session.bridge import unavailable
    from tpmconsole.session.provider import find_module

    connection = board.tpm.connection
    if connection is None:
        return Finding("engine", "skipped", "needs a TPM that answers")
    module = find_module(connection)
    no_bridge = unavailable()
    bridge = f"no bridge: {no_bridge}" if no_bridge else "the bridge works"
    if module.good:
        return Finding(
            "engine", "ok", f"tpm2-openssl {module.version} signs for key files; {bridge}"
        )
    older = f"{module.version}, older than 1.2" if module.version else f"not used: {module.reason}"
    found = f"tpm2-openssl {older}; {bridge}"
    if no_bridge:
        return Finding("engine", "fail", found, "install tpm2-openssl 1.2 or newer")
    return Finding("engine", "ok", found)


def _others(board: Board) -> Finding:
    import psutil

    from tpmconsole.session.monitor import foreign_users

    ours = [one.pid for one in board.sessions.list() if one.pid is not None]
    ours += [child.pid for child in psutil.Process().children()]
    users = [f"{one.name} ({one.pid}, {one.how})" for one in foreign_users(ours)]
    return Finding("other users", "ok", ", ".join(users) or "no other program uses the TPM")


def _identities(board: Board) -> list[Finding]:
    grades = {"READY": "ok", "EXPIRES": "warn", "EXPIRED": "fail", "ERROR": "fail"}
    try:
        return [
            Finding(
                "identity",
                grades.get(one.state, "ok"),
                f"{one.name}: {one.state.lower()}, {one.detail}",
                f"run: tpmconsole request {one.name}"
                if grades.get(one.state) != "ok" and one.state in grades
                else "",
            )
            for one in board.summaries()
        ]
    except (ConsoleError, OSError) as error:
        remedy = getattr(error, "remedy", "check the owner of the state directory")
        return [Finding("identity", "fail", str(error), remedy)]


def _disk(state: Path) -> Finding:
    there = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{free // (1024 * 1024)} MB free for {state}"
    if free < LOW_DISK:
        return Finding("disk", "warn", text, "make room: certificates and events are kept there")
    if not os.access(there, os.W_OK):
        return Finding("disk", "fail", f"{there} may not be written", "check its owner and mount")
    return Finding("disk", "ok", text)


def _environment() -> Finding:
    stale = [name for name in STALE_VARIABLES if os.environ.get(name)]
    if stale:
        return Finding(
            "environment",
            "warn",
            f"{', '.join(stale)} set: other programs, not this one, will follow it",
            f"run: unset {' '.join(stale)}",
        )
    return Finding("environment", "ok", "no stale TPM or OpenSSL variables")


def _terminal() -> Finding:
    term = os.environ.get("TERM", "")
    if term in ("", "dumb"):
        return Finding("terminal", "warn", "TERM is not set", "run: export TERM=vt220")
    return Finding("terminal", "ok", f"TERM={term}")


def _versions() -> Finding:
    told = _told("tpmconsole", "psutil")
    return Finding("versions", "ok", f"Python {platform.python_version()}, {told}")


def _packages() -> Finding:
    return Finding("packages", "ok", _told("textual", "tpm2-pytss", "cryptography"))


def _told(*packages: str) -> str:
    return ", ".join(f"{name} {version(name)}" for name in packages)
