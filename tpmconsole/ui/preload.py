"""Importing ahead what the screen may need later: then nothing has to be opened for it.

Pages and dialogs are imported when they are first wanted, so that the first paint comes soon. Once
it is there the rest follows in the background: a page then opens at once, also where no file
descriptor is left, the disk is gone or the program was upgraded meanwhile.
"""

from __future__ import annotations

import logging
import pkgutil
from importlib import import_module

import tpmconsole

log = logging.getLogger(__name__)

# What a page's handlers import, of the rooms below; never what loads the TSS.
_BELOW = (
    "identity",
    "x509",
    "session.status",
    "session.spec",
    "session.manager",
    "session.usage",
    "board.tpm_users",
    "board.doctor",
    "board.report",
)
AFTER_S = 5.0  # seconds after the first paint: until then the user has to be waited for


def import_ahead() -> None:
    """Import the screen's modules, and those that its handlers use."""
    for name in _names():
        try:
            import_module(name)
        except (ImportError, OSError) as error:  # it is tried again when it is wanted
            log.warning("not imported ahead: %s: %s", name, error)
    # Rich loads its tables when it first meets a character outside ASCII.
    from rich.cells import split_graphemes

    split_graphemes("\N{BULLET}")


def _names() -> list[str]:
    names = [f"tpmconsole.{name}" for name in _BELOW]
    found = pkgutil.walk_packages(tpmconsole.__path__, "tpmconsole.")
    wanted = (
        "tpmconsole.ui.",
        "tpmconsole.identity.",
        "tpmconsole.x509.",
        "tpmconsole.board.doctor.",
    )
    return names + [one.name for one in found if one.name.startswith(wanted)]
