"""A session as a service of systemd: the same folder, address and key, at every boot.

It runs as a user of its own that sees nothing of the state directory but the session's folder. What
it needs of its identity is copied there by root, each time it starts and each time it is reloaded.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, Remedy
from tpmconsole.session.directory import CONFIGURATION_FILE, SessionConfig
from tpmconsole.session.spec import PasswordFiles
from tpmconsole.session.status import SessionStatus
from tpmconsole.session.tls.engine import PROVIDER
from tpmconsole.system.environment import NO_OPENSSL_CONF
from tpmconsole.system.systemd import (
    HARDENED,
    TSS_GROUP,
    Unit,
    UnitFiles,
    after_device,
    allowed_device,
    command_line,
    environment,
    literal,
    quoted,
    reachable_by_others,
)

USER = "tpmconsole"
# Names of credentials of systemd's, and of the fields of Auth that they are for.
CREDENTIALS = ("owner", "parent")
CERTIFICATE_FILE, TRUST_FILE, CRL_FILE = "certificate.pem", "trust.pem", "crl.pem"
_FIRST_FREE_PORT = 1024
_HOMES = ("/home/", "/root/")
_PACKAGE = Path(__file__).resolve().parents[2]


def unit_name(session: str) -> str:
    """The unit of a session, by the session's id."""
    return f"tpmconsole-{session}.service"


def check_no_service(facts: SessionStatus, verb: str) -> None:
    """Refuse what systemd alone can do to a session that it runs.

    Args:
        verb: ``reload`` or ``restart``, as systemctl has them.

    Raises:
        ConsoleError: systemd runs it.
    """
    if facts.unit is not None:
        raise ConsoleError(
            "Session is a service",
            f"systemd runs {facts.id}, from copies of its identity's files",
            f"{verb} it as root: systemctl {verb} {facts.unit}",
        )


def unit_of(folder: Path, order: SessionConfig, passwords: PasswordFiles) -> UnitFiles:
    """The unit that runs a session from its folder.

    Args:
        folder: the session's; the unit's user will own it.
        passwords: what using the key takes.

    Raises:
        ConsoleError: its TPM is a simulated one, or a path cannot stand in a unit.
    """
    if order.connection.simulated:
        raise ConsoleError(
            "Not as a service",
            f"{folder.name} uses the simulated TPM, which ends with who uses it",
            "start the session with the board's TPM, then install that one",
        )
    unit = Unit(
        unit_name(folder.name),
        (
            (
                "Description",
                literal(f"mutual TLS {order.spec.role} of {order.credentials.identity}"),
            ),
            ("Documentation", "man:tpmconsole(1)"),
            ("Wants", "network-online.target"),
            ("After", "network-online.target tpm2-abrmd.service"),
            *after_device(order.connection.tcti),
            # However often it has to, it comes back; see RestartPreventExitStatus.
            ("StartLimitIntervalSec", "0"),
        ),
        (
            *_commands(folder, order),
            *_process(folder, order, passwords),
            *_limits(folder, order),
        ),
    )
    return UnitFiles(unit, USER, (TSS_GROUP,), _notes(folder))


def _commands(folder: Path, order: SessionConfig) -> list[tuple[str, str]]:
    """What is run; ``+``: by root, for files that the session's user may not read elsewhere."""
    given = _given(folder, order)
    own = f"+{command_line(['/bin/chown', '-R', f'{USER}:{USER}', folder])}"
    options = ("-m", "0400", "-o", USER, "-g", USER)
    copies = [
        "+" + command_line(["/usr/bin/install", *options, source, target])
        for source, target in given
    ]
    run: list[str | Path] = [sys.executable, "-P", "-m", "tpmconsole.session.process", folder]
    return [
        *(("ExecStartPre", line) for line in (*copies, own)),
        ("ExecStart", command_line(run)),
        *(("ExecReload", line) for line in copies),
        # The shell's own kill: the program is procps', which a small system lacks.
        ("ExecReload", command_line(["/bin/sh", "-c", "kill -HUP $MAINPID"])),
    ]


def _given(folder: Path, order: SessionConfig) -> list[tuple[Path, Path]]:
    """The identity's files, and where the session finds them."""
    files = [
        (order.credentials.certificate, folder / CERTIFICATE_FILE),
        (order.credentials.trust, folder / TRUST_FILE),
    ]
    if order.spec.crl is not None:
        files.append((Path(order.spec.crl), folder / CRL_FILE))
    return files


def _process(folder: Path, order: SessionConfig, passwords: PasswordFiles) -> list[tuple[str, str]]:
    variables = NO_OPENSSL_CONF | {"PYTHONPATH": str(_PACKAGE), "TSS2_LOG": "all+error"}
    if order.engine.name == PROVIDER:
        variables["OPENSSL_CONF"] = str(folder / CONFIGURATION_FILE)
        variables["TPM2OPENSSL_TCTI"] = order.connection.tcti
    given = f"file:{literal(passwords.key)}" if passwords.key else "null"
    # Standard input is one file. The others come as credentials: systemd copies what root has into
    # files that the session's user alone may read, outside of every disk.
    others = [(name, getattr(passwords, name)) for name in CREDENTIALS]
    return [
        ("User", USER),
        ("SupplementaryGroups", TSS_GROUP),
        *environment(variables),
        ("StandardInput", given),
        *(("LoadCredential", f"{name}:{literal(file)}") for name, file in others if file),
        ("Restart", "on-failure"),
        ("RestartSec", "5"),
        # Not with a password that the TPM has refused: each time would cost a try.
        ("RestartPreventExitStatus", str(int(ExitCode.REFUSED))),
        ("TimeoutStartSec", "60"),
        ("TimeoutStopSec", "10"),
    ]


def _limits(folder: Path, order: SessionConfig) -> list[tuple[str, str]]:
    low_port = order.spec.role == "server" and 0 < order.spec.port < _FIRST_FREE_PORT
    capability = "CAP_NET_BIND_SERVICE" if low_port else ""
    name, _, path = order.connection.tcti.partition(":")
    devices = [path] if name == "device" else []
    in_home = any(str(one).startswith(_HOMES) for one in (sys.prefix, sys.base_prefix, _PACKAGE))
    state = folder.parents[1]
    return [
        *HARDENED,
        # A Python in somebody's home could not even be started where homes are hidden.
        ("ProtectHome", "read-only" if in_home else "yes"),
        # Of the state directory it sees its own folder, and writes there alone. What "+" copies has
        # to be seen there, too: root may read it, the session's user may not.
        ("TemporaryFileSystem", quoted(f"{state}:ro")),
        *(
            ("BindReadOnlyPaths", quoted(f"-{source}"))
            for source, _ in _given(folder, order)
            if state in source.parents
        ),
        ("BindPaths", quoted(folder)),
        ("ReadWritePaths", quoted(folder)),
        ("CapabilityBoundingSet", capability),
        *([("AmbientCapabilities", capability)] if capability else []),
        ("DevicePolicy", "closed"),
        *map(allowed_device, devices),
    ]


def _notes(folder: Path) -> tuple[Remedy, ...]:
    log = f"journalctl -u {unit_name(folder.name)}"
    notes: list[Remedy] = [
        NextStep(Action.SHOW_SESSION, folder.name, f"what it says: {{}}; its log: {log}"),
        f"after a new certificate: systemctl reload {unit_name(folder.name)}",
    ]
    above = folder.parents[1].parent
    if not (reachable_by_others(above) if above.exists() else True):
        notes.append(
            NextStep(
                Action.GIVE_STATE,
                "/var/lib/tpmconsole",
                f"the user {USER} may not enter {above}: use {{}}",
            )
        )
    hidden = [one for one in (Path(sys.executable), _PACKAGE) if not reachable_by_others(one)]
    if hidden:
        notes.append(
            f"the user {USER} may not read {hidden[0]}: install tpmconsole below /opt first"
        )
    return tuple(notes)


def with_copies(folder: Path, order: SessionConfig) -> SessionConfig:
    """The order of a session that a unit runs: it finds what it needs in its own folder."""
    crl = str(folder / CRL_FILE) if order.spec.crl is not None else None
    return replace(
        order,
        spec=replace(order.spec, crl=crl),
        credentials=replace(
            order.credentials,
            certificate=folder / CERTIFICATE_FILE,
            trust=folder / TRUST_FILE,
        ),
    )
