"""A fleet on this machine: a CA by OpenSSL, boards that are state directories, and Ansible."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tpmconsole.tpm.simulator import Simulator

EXAMPLE = Path(__file__).parents[2] / "tpmconsole" / "fleet"
_RECAP = re.compile(r"^(\S+)\s+: (.*)$", re.MULTILINE)
_PATIENCE_S = 600


class Fleet:
    """Boards whose TPMs are simulators, each below a folder of its own.

    Args:
        folder: a short path, because it will hold sockets.
        size: how many boards.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.boards = [f"board{number}" for number in range(1, size + 1)]
        self.ca = folder / "ca"
        self._make_ca()
        self._make_inventory()

    def state(self, board: str) -> Path:
        """A board's state directory."""
        return self.folder / board

    def play(self, forks: int = 2) -> dict[str, dict[str, int]]:
        """Run the example playbook; what its recap counts for each board.

        Raises:
            AssertionError: it failed; the message is its output.
        """
        program = shutil.which("ansible-playbook", path=Path(sys.executable).parent)
        assert program, "ansible-core is not installed"
        done = subprocess.run(
            [
                *(program, "-i", self.folder / "inventory.yml", "--forks", str(forks)),
                EXAMPLE / "provision.yml",
            ],
            capture_output=True,
            text=True,
            env=self._environment(),
            timeout=_PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        recap = done.stdout.partition("PLAY RECAP")[2]
        return {
            board: {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", counts)}
            for board, counts in _RECAP.findall(recap)
        }

    def console(self, board: str, *arguments: str) -> Any:
        """A command on a board; its JSON."""
        words = [*self._console(board), *arguments, "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        return json.loads(done.stdout)

    def stop(self) -> None:
        """End every board's sessions and simulator."""
        for board in self.boards:
            if self.state(board).exists():
                for session in self.console(board, "session", "list"):
                    self.console(board, "session", "stop", session["id"])
                Simulator(self.state(board) / "simulator").stop()

    def _console(self, board: str) -> list[str]:
        state = str(self.state(board))
        return [sys.executable, "-m", "tpmconsole", "--state", state, "--simulate"]

    def _environment(self) -> dict[str, str]:
        kept = {"PATH", "HOME", "LANG"}
        return {name: text for name, text in os.environ.items() if name in kept} | {
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "LC_ALL": "C.UTF-8",
        }

    def _make_ca(self) -> None:
        for name in ("requests", "issued"):
            (self.ca / name).mkdir(parents=True)
        (self.ca / "index.txt").touch()
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-new", "-newkey", "ec", "-noenc", "-days", "3650"),
                *("-pkeyopt", "ec_paramgen_curve:P-256", "-extensions", "root"),
                *("-config", str(EXAMPLE / "ca.cnf"), "-subj", "/O=Example/CN=Device CA"),
                *("-keyout", str(self.ca / "ca.key"), "-out", str(self.ca / "ca.pem")),
            ],
            check=True,
            capture_output=True,
            env=self._environment() | {"CA": str(self.ca)},
        )

    def _make_inventory(self) -> None:
        (self.folder / "reports").mkdir()
        hosts = {
            board: {
                "tpmconsole_console": self._console(board),
                "tpmconsole_trust": str(self.folder / f"{board}-trust.pem"),
            }
            for board in self.boards
        }
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": str(self.folder / "tmp"),
            "tpmconsole_ca": str(self.ca),
            "tpmconsole_reports": str(self.folder / "reports"),
            "tpmconsole_san": ["ip:127.0.0.1"],
            "tpmconsole_session": ["server", "gateway", "--listen", "127.0.0.1:0"],
            "tpmconsole_session_unit": False,
        }
        # Ansible reads JSON, which is YAML.
        inventory = {"boards": {"hosts": hosts, "vars": common}}
        (self.folder / "inventory.yml").write_text(json.dumps(inventory))
