"""Password files as they have to be."""

from __future__ import annotations

from pathlib import Path


def write_password(path: Path, line: str) -> None:
    """Write a file that its owner alone may read."""
    path.touch(0o600)
    path.write_text(line)
