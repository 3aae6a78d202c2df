"""The keys of every page, read from the source of the pages: each ``Command`` names its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tpmconsole.ui.command import key_name
from tpmconsole.ui.pages.names import PAGES, PageName

UI = Path(__file__).parents[2] / "tpmconsole" / "ui"
# The main screen makes a command for each page from ``PAGES``.
_EVERYWHERE = "main_screen.py"
_LISTS = "widgets/list_table.py"


class Key(NamedTuple):
    """What a key does: its names as a person reads them, and the sentence of the help."""

    names: tuple[str, ...]
    help: str


def keys_of(page: PageName) -> list[Key]:
    """The keys of a page, in the order of its source."""
    path = UI / "pages" / (page.module.replace(".", "/") + ".py")
    folder = [path] if path.parent.name == "pages" else sorted(path.parent.glob("*.py"))
    return [key for file in folder for key in _keys(file)]


def keys_everywhere() -> list[Key]:
    """The keys that every page has, without those that open a page."""
    return list(_keys(UI / _EVERYWHERE))


def markdown() -> str:
    """The chapter of the manual."""
    pages = "\n\n".join(
        f"`{number}` `F{number}`\n: {page.title}" for number, page in enumerate(PAGES, 1)
    )
    parts = ["# Keys", f"## Keys on every page\n\n{pages}\n\n{_listed(keys_everywhere())}"]
    parts.append(f"## Keys in every list\n\n{_listed(list(_keys(UI / _LISTS)))}")
    for number, page in enumerate(PAGES, 1):
        parts.append(f"## Keys on page {number}, {page.title}\n\n{_listed(keys_of(page))}")
    return "\n\n".join(parts) + "\n"


def _listed(keys: list[Key]) -> str:
    return "\n\n".join(
        " ".join(f"`{name}`" for name in key.names) + f"\n: {key.help}" for key in keys
    )


def _keys(path: Path) -> Iterator[Key]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id != "Command" or len(node.args) < 3:
            continue
        key, says = _text(node.args[0]), _text(node.args[2])
        if key and says:
            aliases = [one.value for one in node.keywords if one.arg == "aliases"]
            names = [key, *(name for one in aliases for name in _texts(one))]
            yield Key(tuple(map(key_name, names)), says)


def _text(node: ast.expr) -> str:
    """A constant text; empty for anything else."""
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _texts(node: ast.expr) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
