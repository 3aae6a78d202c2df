"""Root is not needed: a user in the device's group can do everything. Said once, not each time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import make_private_folder, write_atomic
from tpmconsole.tpm.model import Connection

_SAID = "root-not-needed"


def root_note(connection: Connection | None) -> str | None:
    """What to do instead of running as root; None where we do not, or where it takes root.

    Args:
        connection: the TPM in use. A simulated one is everybody's own: there it does not matter.
    """
    if os.geteuid() != 0 or connection is None or not connection.tcti.startswith("device:"):
        return None
    import grp

    try:
        status = Path(connection.tcti.removeprefix("device:")).stat()
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return None
    if status.st_gid == 0 or stat.S_IMODE(status.st_mode) & 0o060 != 0o060:
        return None  # only root may open it here
    return f"use a user who is in the group {group}: usermod -aG {group} USER"


def say_once(state: Path, connection: Connection | None) -> str | None:
    """``root_note`` the first time it is asked for in a state directory, then never again."""
    note = root_note(connection)
    said = state / _SAID
    if note is None or said.exists():
        return None
    try:
        make_private_folder(state)
        write_atomic(said, b"")
    except ConsoleError:
        return None  # it cannot be remembered, and so would be said each time
    return f"root is not needed: {note}"
