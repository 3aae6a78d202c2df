"""The command line, as a script calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import warm


class Shell:
    """Runs commands on one state directory, each in a new Python.

    Attributes:
        environment: what the commands get; without the variables that choose a TPM.
        python: the interpreter that has the package.
    """

    python = sys.executable

    def __init__(self, state: Path) -> None:
        self.state = state
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TPM", "XDG_STATE"))
        }

    def __call__(
        self, *arguments: str, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-m", "tpmconsole", "--state", str(self.state), *arguments],
            capture_output=True,
            text=True,
            env=self.environment,
            input=text,
            timeout=60,
            check=False,
        )

    def simulate(self, *arguments: str) -> Any:
        """Run a command on the simulated TPM that must succeed; return its JSON."""
        done = self("--simulate", *arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def refuse(self, code: int, *arguments: str) -> dict[str, Any]:
        """Run a command that must fail with an error; return the error."""
        done = self(*arguments, "--json")
        assert done.returncode == code, done.stdout + done.stderr
        error: dict[str, Any] = json.loads(done.stdout)["error"]
        assert error["code"] == code
        assert all(error[name] for name in ("title", "cause", "remedy"))
        assert "Traceback" not in done.stdout + done.stderr
        return error

    def identities(self) -> list[str]:
        """Return the names in the folder on the disk."""
        folder = self.state / "identities"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


class QuickShell(Shell):
    """The same without starting Python: for tests of what a command does, not how it starts."""

    def __call__(
        self, *arguments: str, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return warm.run(["--state", str(self.state), *arguments], self.environment, text)

    def without(
        self, *arguments: str, closed: int | None = None, full: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same with a closed or full standard stream, given by its number."""
        words = ["--state", str(self.state), *arguments]
        return warm.run(words, self.environment, closed=closed, full=full)
