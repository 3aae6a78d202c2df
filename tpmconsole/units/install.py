"""What systemd is given: files, and the commands that go with them; installed and undone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.files import PUBLIC_FILE, cannot_write, read_bounded, write_atomic

UNITS = Path("/etc/systemd/system")
COMMAND_S = 60.0
UNIT_BYTES = 64 * 1024

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Installation:
    """Files for systemd and the commands that make it use them.

    Attributes:
        name: what ``tpmconsole install`` calls it.
        files: content by path; the paths are those on the board.
        start: run after the files are there, in this order.
        stop: run before the files go.
        stopped: run after they have gone.
        undo: the command that undoes it, for people.
        note: what else there is to know, in a sentence.
    """

    name: str
    files: dict[Path, str]
    start: tuple[Command, ...]
    stop: tuple[Command, ...]
    stopped: tuple[Command, ...]
    undo: str
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The answer of the ``install`` commands, but for what was done."""
        return {
            "name": self.name,
            "files": [{"path": str(path), "text": text} for path, text in self.files.items()],
            "commands": [list(one) for one in self.start],
            "undo": self.undo,
            "note": self.note,
        }

    def lines(self, *, undo: bool = False) -> Iterable[str]:
        """Every file and command, for people: what ``--dry-run`` shows."""
        if undo:
            removal = ("rm", *map(str, self.files))
            yield from (f"$ {' '.join(one)}" for one in (*self.stop, removal, *self.stopped))
            return
        for path, text in self.files.items():
            yield f"--- {path}"
            yield from text.splitlines()
        for command in self.start:
            yield f"$ {' '.join(command)}"


def install(wanted: Installation, root: Path | None = None) -> bool:
    """Write the files and start what is in them.

    Args:
        wanted: what to install.
        root: a file system that is not running, such as an image's: only the files are written.

    Returns:
        Whether a file has changed; where none has, nothing is started again.

    Raises:
        ConsoleError: a file cannot be written, or systemd refuses.
    """
    changed = False
    for path, text in wanted.files.items():
        target = _below(root, path)
        if _content(target) == text.encode():
            continue
        changed = True
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(target.parent, error) from error
        write_atomic(target, text.encode(), PUBLIC_FILE)
    if changed and root is None:
        _run(wanted.start)
    return changed


def remove(wanted: Installation, root: Path | None = None) -> bool:
    """Undo ``install``; returns whether there was anything to undo; errors as there."""
    there = [path for path in wanted.files if _below(root, path).exists()]
    if not there:
        return False
    if root is None:
        _run(wanted.stop)
    for path in there:
        target = _below(root, path)
        try:
            target.unlink(missing_ok=True)
            if target.parent.suffix == ".d" and not any(target.parent.iterdir()):
                target.parent.rmdir()
        except OSError as error:
            raise cannot_write(target, error) from error
    if root is None:
        _run(wanted.stopped)
    return True


def _below(root: Path | None, path: Path) -> Path:
    return path if root is None else root / path.relative_to("/")


def _content(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    return read_bounded(path, UNIT_BYTES)


def _run(commands: Iterable[Command]) -> None:
    for command in commands:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_S,
                check=False,
            )
        except FileNotFoundError as error:
            raise _refused(command, "there is no such program here") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _refused(command, str(error)) from error
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise _refused(command, said[-1] if said else f"exit code {done.returncode}")


def _refused(command: Command, why: str) -> ConsoleError:
    return ConsoleError(
        "systemd did not take it",
        f"{' '.join(command)}: {why}",
        "run it as root on a board with systemd; for an image, write the files with --root DIR",
        ExitCode.NO,
    )
