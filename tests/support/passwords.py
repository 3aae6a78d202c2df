"""Password files with the required mode."""

from __future__ import annotations

from pathlib import Path


def write_password(path: Path, line: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(0o600)
    path.write_text(line)
