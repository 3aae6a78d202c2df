"""``python -m tpmconsole`` and the ``tpmconsole`` command."""

from __future__ import annotations

import gc
import sys
import warnings
from typing import TYPE_CHECKING

from tpmconsole.cli.output import prepare_streams
from tpmconsole.system.environment import shield

if TYPE_CHECKING:
    from tpmconsole.settings import Settings


def main() -> None:
    """Run one command, or the console, and exit with its code."""
    prepare_streams()  # before anything is opened
    # Imports make many objects and no garbage: a tenth of the way to the first paint is saved. The
    # console switches collection on when it has painted; a command is over before it would matter.
    gc.disable()
    shield()
    if not sys.warnoptions:  # libraries warn their programmers; on a screen it would be noise
        warnings.simplefilter("ignore")
    from tpmconsole.cli.main import run

    sys.exit(run(sys.argv[1:], _open_console))


def _open_console(settings: Settings) -> int:
    from tpmconsole.ui.start import open_console

    return open_console(settings)


if __name__ == "__main__":
    main()
