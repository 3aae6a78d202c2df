"""The console on Textual's own driver, for comparison: ``stock_console.py STATE``."""

import sys
from pathlib import Path

from tpmconsole.settings import Settings
from tpmconsole.ui.start import building

with building(Settings(state=Path(sys.argv[1]), simulate=True)) as app:
    app.run(mouse=False)
