"""``python -m tpmconsole`` and the ``tpmconsole`` command."""

from __future__ import annotations

import sys

from tpmconsole.cli import run


def main() -> None:
    """Run one command, or the console, and exit with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
