"""A small app with the parts of the console, for the terminal tests.

    sample.py [--line serial|fast|auto] [--mouse] [--stock] [--log FILE]

Keys: 1 2 switch views, m opens a dialog, i goes to the input, c crashes, k blocks the event loop,
u counts up in the bar, ctrl+r resets, z suspends, x runs a program, ctrl+l repaints, q quits.
Other keys show in the bar.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tpmconsole.errors import ConsoleError
from tpmconsole.logs import start_logging
from tpmconsole.ui.terminal.profile import current, prepare_environment


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--line", default="auto")
    parser.add_argument("--mouse", action="store_true")
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    try:
        return run(arguments)
    except ConsoleError as error:
        print(f"sample: {error}\ntry: {error.remedy}", file=sys.stderr)
        return int(error.exit_code)


def run(arguments: argparse.Namespace) -> int:
    if arguments.log:
        start_logging(arguments.log)
    profile = current(arguments.line, mouse=arguments.mouse)
    prepare_environment(profile)
    from support.sample_app import make_app
    from tpmconsole.ui.terminal.driver import line_driver

    app = make_app(None if arguments.stock else line_driver(profile), time.sleep)
    app.log_path = arguments.log
    app.run(mouse=profile.mouse)
    if app.failure:
        raise app.failure
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
