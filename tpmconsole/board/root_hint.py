"""Root is not needed: a user in the device's group can do everything. Said once, not each time."""

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


def session_note(session: SessionStatus) -> NextStep | None:
    """What a session that root has started could be told instead; None where nothing is to say.

    It talks to whoever connects, and nothing confines it: who takes it over has the board. A
    simulated TPM's sessions are demonstrations.
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
