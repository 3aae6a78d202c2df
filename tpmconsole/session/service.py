"""A session as a systemd service: the same order, address and key, at every boot.

It runs as a user that systemd makes only for it, and writes only to its StateDirectory=. Its order
and key file come as credentials. Root copies its certificates into a folder of root below /run,
each time it starts and each time it is reloaded: a credential would stay as it was at the start. No
process of root ever reads or writes where the session may write.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, Remedy
from tpmconsole.session.directory import (
    CERTIFICATE_FILE,
    CONFIGURATION_FILE,
    CRL_FILE,
    KEY_FILE,
    ORDER_FILE,
    TRUST_FILE,
    SessionConfig,
    state_name,
    unit_name,
)
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

# Names of systemd credentials, and of the fields of Auth that they are for.
CREDENTIALS = ("owner", "parent")
GIVEN = Path("/run/tpmconsole")  # a service's certificates are in a folder of its name there
# How much of the board it can use if it is taken over. Files in memory count as memory. Only a
# quota of the file system limits how many files it makes on the disk.
_BOUNDS = (
    ("LimitFSIZE", "64M"),  # the largest is a list of revoked certificates, in memory (crl.py)
    ("LimitNOFILE", "1024"),  # 256 clients, and the listeners
    ("LimitCORE", "0"),
    ("TasksMax", "64"),
    ("MemoryMax", "512M"),
)
_FIRST_FREE_PORT = 1024
_HOMES = ("/home/", "/root/")
_PACKAGE = Path(__file__).resolve().parents[2]


def check_no_service(facts: SessionStatus, verb: str) -> None:
    """Refuse what only systemd can do to a session that it runs.

    Args:
        verb: ``reload`` or ``restart``, as for systemctl.

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
    """Return the unit that runs a session from its folder.

    Args:
        folder: the session's, with its order.
        passwords: the files of the passwords that the key needs.

    Raises:
        ConsoleError: its TPM is a simulated one, or a unit cannot contain a path.
    """
    if order.connection.simulated:
        raise ConsoleError(
            "Not as a service",
            f"{folder.name} uses the simulated TPM, which ends with its user",
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
            # No limit on restarts; see RestartPreventExitStatus.
            ("StartLimitIntervalSec", "0"),
        ),
        (
            *_commands(folder, order),
            *_process(folder, order, passwords),
            *_limits(folder, order),
        ),
    )
    return UnitFiles(unit, notes=_notes(folder))


def _commands(folder: Path, order: SessionConfig) -> list[tuple[str, str]]:
    """The commands; ``+``: run by root, which can read the identity's files. The session cannot."""
    given = GIVEN / folder.name
    # -D makes the folder, which only root can write to; -T does not follow a folder of that name.
    options = ("-D", "-T", "-m", "0444", "-o", "root", "-g", "root")
    copies = [
        "+" + command_line(["/usr/bin/install", *options, source, given / name])
        for source, name in _given(order)
    ]
    program: tuple[str, ...] = (sys.executable, "-P", "-m", "tpmconsole.session.process")
    return [
        *(("ExecStartPre", line) for line in copies),
        ("ExecStart", command_line([*program, "--service", given])),
        *(("ExecReload", line) for line in copies),
        # The shell's own kill: the program comes with procps, which a small system lacks.
        ("ExecReload", command_line(["/bin/sh", "-c", "kill -HUP $MAINPID"])),
        ("ExecStopPost", "+" + command_line(["/bin/rm", "-rf", given])),
    ]


def _given(order: SessionConfig) -> list[tuple[Path, str]]:
    """The identity's files, and their names in the session's folder."""
    files = [
        (order.credentials.certificate, CERTIFICATE_FILE),
        (order.credentials.trust, TRUST_FILE),
    ]
    if order.spec.crl is not None:
        files.append((Path(order.spec.crl), CRL_FILE))
    return files


def _told(folder: Path, order: SessionConfig, passwords: PasswordFiles) -> list[tuple[str, str]]:
    """The credentials from systemd: copies that only the session can read, on no disk."""
    files = [(ORDER_FILE, folder / ORDER_FILE)]
    if order.credentials.key.pem is not None:
        files.append((KEY_FILE, folder / KEY_FILE))
    if order.engine.name == PROVIDER:
        files.append((CONFIGURATION_FILE, folder / CONFIGURATION_FILE))
    given = [(name, getattr(passwords, name)) for name in CREDENTIALS]
    files += [(name, file) for name, file in given if file is not None]
    return [("LoadCredential", f"{name}:{literal(file)}") for name, file in files]


def _process(folder: Path, order: SessionConfig, passwords: PasswordFiles) -> list[tuple[str, str]]:
    variables = NO_OPENSSL_CONF | {"PYTHONPATH": str(_PACKAGE), "TSS2_LOG": "all+error"}
    provider = []
    if order.engine.name == PROVIDER:
        del variables["OPENSSL_CONF"]
        variables["TPM2OPENSSL_TCTI"] = order.connection.tcti
        provider = [("Environment", f"OPENSSL_CONF=%d/{CONFIGURATION_FILE}")]  # %d: credentials
    return [
        # A user that exists only while it runs: no other service has it, or can send it a signal.
        ("DynamicUser", "yes"),
        ("SupplementaryGroups", TSS_GROUP),
        ("StateDirectory", state_name(folder.name)),
        ("StateDirectoryMode", "0700"),
        # In memory, for what it writes every second.
        ("RuntimeDirectory", state_name(folder.name)),
        ("RuntimeDirectoryMode", "0700"),
        *environment(variables),
        *provider,
        ("StandardInput", f"file:{literal(passwords.key)}" if passwords.key else "null"),
        *_told(folder, order, passwords),
        ("Restart", "on-failure"),
        ("RestartSec", "5"),
        # Not with a password that the TPM has refused: each start would cost an attempt.
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
    return [
        *HARDENED,
        *_BOUNDS,
        ("PrivateMounts", "yes"),
        # A Python in a user's home could not be started if homes were hidden.
        ("ProtectHome", "read-only" if in_home else "yes"),
        # The state directory belongs to root: only the "+" commands can see it.
        ("InaccessiblePaths", quoted(f"-{folder.parents[1]}")),
        ("CapabilityBoundingSet", capability),
        *([("AmbientCapabilities", capability)] if capability else []),
        ("DevicePolicy", "closed"),
        *map(allowed_device, devices),
    ]


def _notes(folder: Path) -> tuple[Remedy, ...]:
    log = f"journalctl -u {unit_name(folder.name)}"
    notes: list[Remedy] = [
        NextStep(Action.SHOW_SESSION, folder.name, f"its status: {{}}; its log: {log}"),
        f"after a new certificate: systemctl reload {unit_name(folder.name)}",
    ]
    hidden = [one for one in (Path(sys.executable), _PACKAGE) if not reachable_by_others(one)]
    if hidden:
        notes.append(f"other users cannot read {hidden[0]}: install tpmconsole below /opt first")
    return tuple(notes)
