"""Make a session read its files again, and wait for the result."""

from __future__ import annotations

import signal
import time

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.session.directory import Places
from tpmconsole.session.events import EventReader
from tpmconsole.system.processes import Process

PATIENCE_S = 20.0
POLL_S = 0.01


def wait_until_reloaded(places: Places, session: str, process: Process) -> None:
    """Send SIGHUP, and wait for the session's answer.

    Raises:
        ConsoleError: the files cannot be used now, or there is no answer.
    """
    with EventReader(*places) as reader:
        for _ in reader.read():
            pass  # earlier events are not the answer
        process.signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_S
        while process.alive and time.monotonic() < deadline:
            for event in reader.read():
                if event["event"] == "reloaded":
                    return
                if event.get("reload") is False:
                    raise ConsoleError.from_json(event)
            time.sleep(POLL_S)
    raise ConsoleError(
        "Not reloaded",
        f"no answer from {session} for {PATIENCE_S:.0f} seconds; the TPM may hang",
        NextStep(Action.SHOW_STATUS, text="check the TPM ({}), then reload it again"),
        ExitCode.NO_TPM,
    )
