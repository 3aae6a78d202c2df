"""An append-only record of changes: when, which user, what. It never holds a secret."""

from __future__ import annotations

import json
import os
import pwd
from datetime import UTC, datetime
from pathlib import Path

from tpmconsole.system.files import PRIVATE_FILE, cannot_write, make_private_folder


def record(path: Path, action: str, **facts: str | int | bool | None) -> None:
    """Append one line to the audit file.

    Args:
        path: the audit file; created if it is missing.
        action: what was done, such as ``create`` or ``import``.
        facts: what it was done to: names, handles, fingerprints.

    Raises:
        ConsoleError: the line could not be written.
    """
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": _user(),
        "terminal": _terminal(),
        "action": action,
        **facts,
    }
    make_private_folder(path.parent)
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(path, flags, PRIVATE_FILE)
        with os.fdopen(descriptor, "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def _user() -> str:
    # Not getpass.getuser: it trusts the environment.
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _terminal() -> str | None:
    try:
        return os.ttyname(0)
    except OSError:
        return None
