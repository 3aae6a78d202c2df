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
    # Imports make many objects but no garbage: this saves a tenth of the time to the first paint.
    # The console switches collection on after painting; a command ends before it would matter.
    gc.disable()
    shield()
    if not sys.warnoptions:  # libraries warn programmers; on a screen that would be noise
        warnings.simplefilter("ignore")
    from tpmconsole.cli.main import run

    sys.exit(run(sys.argv[1:], _open_console))


def _open_console(settings: Settings) -> int:
    from tpmconsole.ui.start import open_console

    return open_console(settings)


if __name__ == "__main__":
    main()
