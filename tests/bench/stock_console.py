"""The console on Textual's own driver, for comparison: ``stock_console.py STATE``."""

import sys
from pathlib import Path

from tpmconsole.board import Board
from tpmconsole.settings import Settings
from tpmconsole.ui.start import build_app

board = Board(Settings(state=Path(sys.argv[1]), simulate=True))
try:
    build_app(board).run(mouse=False)
finally:
    board.close()
