"""README.md, "Install on a board": the board is built by doing exactly what it says."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
DEBIAN = {"trixie": "Debian 13", "bookworm": "Debian 12"}
_SECTION = re.compile(r"^## Install on a board\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def installation(release: str) -> list[str]:
    """The commands to run as root in a copy of the project, without those of other releases.

    Args:
        release: ``trixie`` or ``bookworm``.
    """
    block = _BLOCK.search(_section())
    assert block, "no commands under that heading"
    others = [f"# {name}" for key, name in DEBIAN.items() if key != release]
    lines = block[1].replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not any(line.endswith(name) for name in others)]


def _section() -> str:
    found = _SECTION.search(README.read_text())
    assert found, f"{README} does not have the heading"
    return found[1]
