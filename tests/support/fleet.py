"""A fleet on this machine: a CA by OpenSSL, boards that are state directories, and Ansible."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography import x509

from tpmconsole.board import Board
from tpmconsole.settings import Settings
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.x509.names import key_fingerprint

EXAMPLE = Path(__file__).parents[2] / "tpmconsole" / "fleet"
_FAILED = re.compile(r"^fatal: \[([^\]]+?)(?: -> \S+)?\]: FAILED! => (\{.*\})$", re.MULTILINE)
# A program that answers every command in the same way; the arguments after its file are ignored.
_PRETENDER = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text())"
_RECAP = re.compile(r"^(\S+)\s+: (.*)$", re.MULTILINE)
_PATIENCE_S = 600
Recap = dict[str, dict[str, int]]


class Fleet:
    """Boards whose TPMs are simulators, each below a folder of its own.

    Args:
        folder: a short path, because it will hold sockets.
        size: how many boards.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.boards = [f"board{number}" for number in range(1, size + 1)]
        self.pretenders: dict[str, dict[str, Any]] = {}
        self.ca = folder / "ca"
        self.makers = folder / "makers"
        self.chips = {board: self._chip(board) for board in self.boards}
        self._make_ca()
        self._make_inventory()

    def _chip(self, board: str) -> list[str]:
        """What the maker of a board's chip says of it: its certificates, and its keys."""
        one = Board(Settings(state=self.state(board), simulate=True))
        try:
            found = one.tpm.endorsement(prove=False).certificates
            (self.makers / board).mkdir(parents=True)
            for path in one.simulator.maker.certificates():
                shutil.copy(path, self.makers / board)
        finally:
            one.close(leave=True)
        keys = (x509.load_der_x509_certificate(each.der).public_key() for each in found)
        return [key_fingerprint(key) for key in keys]

    def state(self, board: str) -> Path:
        """A board's state directory."""
        return self.folder / board

    def pretend(self, board: str, request: str, **variables: Any) -> None:
        """A board without a TPM, that hands this request in and agrees to everything else.

        Args:
            variables: the host's, in the inventory.
        """
        # Not by its name, which may be none for a file.
        mark = hashlib.sha256(board.encode()).hexdigest()[:16]
        answer = self.folder / f"answer-{mark}.json"
        agreed = {"changed": False, "id": "gateway", "unit": "gateway", "pem": request}
        answer.write_text(json.dumps(agreed))
        self.pretenders[board] = {
            "tpmconsole_console": [sys.executable, "-c", _PRETENDER, str(answer)],
            "tpmconsole_trust": str(answer.with_suffix(".pem")),
            **variables,
        }
        self._make_inventory()

    def play(self, forks: int = 2) -> Recap:
        """Run the example playbook; what its recap counts for each board.

        Raises:
            AssertionError: it failed; the message is its output.
        """
        recap, failed, output = self._play(forks)
        assert not failed, output
        return recap

    def play_with_failures(self, forks: int = 2) -> tuple[Recap, dict[str, dict[str, Any]]]:
        """Run the example playbook; its recap, and what the task said of each board that failed."""
        recap, failed, output = self._play(forks)
        assert failed, output
        return recap, failed

    def _play(self, forks: int) -> tuple[Recap, dict[str, dict[str, Any]], str]:
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
        output = done.stdout + done.stderr
        recap = done.stdout.partition("PLAY RECAP")[2]
        counts = {
            board: {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}
            for board, line in _RECAP.findall(recap)
        }
        failed = {board: json.loads(said) for board, said in _FAILED.findall(done.stdout)}
        # Each failure is one that was read here, or nobody would look at it.
        assert (done.returncode != 0) == bool(failed), output
        return counts, failed, output

    def console(self, board: str, *arguments: str) -> Any:
        """A command on a board; its JSON."""
        words = [*self._console(board), *arguments, "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        return json.loads(done.stdout)

    def stop(self) -> None:
        """End every board's sessions and simulator."""
        for board in self.boards:
            if self.state(board).exists():
                for session in self.console(board, "session", "list")["sessions"]:
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
        (self.folder / "reports").mkdir(exist_ok=True)
        hosts = {
            board: {
                "tpmconsole_console": self._console(board),
                "tpmconsole_trust": str(self.folder / f"{board}-trust.pem"),
                "tpmconsole_chip": self.chips[board],
            }
            for board in self.boards
        } | self.pretenders
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": str(self.folder / "tmp"),
            # Boards that only pretend have no chip: it is their names that are judged.
            "tpmconsole_attested": bool(self.boards),
            "tpmconsole_makers": str(self.makers),
            "tpmconsole_ca_console": [sys.executable, "-m", "tpmconsole"],
            "tpmconsole_ca": str(self.ca),
            "tpmconsole_reports": str(self.folder / "reports"),
            "tpmconsole_san": ["ip:127.0.0.1"],
            "tpmconsole_session": ["server", "gateway", "--listen", "127.0.0.1:0"],
            "tpmconsole_session_unit": False,
        }
        # Ansible reads JSON, which is YAML.
        inventory = {"boards": {"hosts": hosts, "vars": common}}
        (self.folder / "inventory.yml").write_text(json.dumps(inventory))
