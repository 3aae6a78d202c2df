"""Say once that root is not needed: a user in the device's group can do everything."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.system.files import make_private_folder, write_atomic
from tpmconsole.tpm.model import Connection

if TYPE_CHECKING:
    from tpmconsole.session.status import SessionStatus

_SAID = "root-not-needed"


def root_note(connection: Connection | None) -> str | None:
    """What to do instead of running as root; None if we are not root, or root is needed.

    Args:
        connection: the TPM in use. A simulated one belongs to its user: there it does not matter.
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
        return None  # here only root can open it
    return f"use a user in the group {group}: usermod -aG {group} USER"


def session_note(session: SessionStatus) -> NextStep | None:
    """What to do instead of running a session as root; None if there is nothing to say.

    Anyone can connect to it, and nothing confines it: an attacker who takes it over controls the
    board. The sessions of a simulated TPM are only demonstrations.
    """
    alone = session.unit is None and not session.simulated and not session.state.ended
    if os.geteuid() != 0 or not alone:
        return None
    return NextStep(
        Action.INSTALL_SERVICE,
        session.id,
        f"{session.id} runs as root, and nothing confines it; stop it, then {{}} has systemd run "
        "it as a user of its own",
    )


def say_once(state: Path, connection: Connection | None) -> str | None:
    """``root_note``, but only once for each state directory."""
    note = root_note(connection)
    said = state / _SAID
    if note is None or said.exists():
        return None
    try:
        make_private_folder(state)
        write_atomic(said, b"")
    except ConsoleError:
        return None  # without the file it would be said each time
    return f"root is not needed: {note}"
