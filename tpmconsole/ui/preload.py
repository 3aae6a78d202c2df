"""Import in advance what the screens may need later, so that no file must be opened then.

Pages and dialogs are imported when they are first needed, so that the first paint comes early.
After it, the rest is imported in the background: then a page opens at once, even if no file
descriptor is left, the disk is gone or the program was upgraded in the meantime.
"""

from __future__ import annotations

import logging
import pkgutil
from importlib import import_module

import tpmconsole

log = logging.getLogger(__name__)

# What the handlers of pages import from other packages; never what loads the TSS.
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
AFTER_S = 5.0  # seconds after the first paint: until then the processor is left to the user


def import_ahead() -> None:
    """Import the screen's modules, and those that its handlers use."""
    for name in _names():
        try:
            import_module(name)
        except (ImportError, OSError) as error:  # it is imported again when it is needed
            log.warning("not imported in advance: %s: %s", name, error)
    # Rich loads its tables for the first character outside ASCII.
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
