"""Finds banned phrases in documents, docstrings, comments and strings: ``python -m tools.words``.

``words.tsv`` lists them, each with what to say instead. Documents, the package and its tests must
be free of them.

Quoted code is not checked: what is in backticks, and the code blocks of a document. A line of code
with the comment ``words: quoted`` is left out, for text that another program prints.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("words.tsv")
DOCUMENTS = (
    "*.md",
    "tpmconsole/fleet/*.md",
    "tpmconsole/share/manual/*.md",
    "Makefile",
    "pyproject.toml",
    ".ci/*",
)
CODE = ("tpmconsole/**/*.py", "tests/**/*.py")
# The list and its test name what is banned; what is generated is checked at its source.
_LEFT_OUT = {
    LIST,
    Path(__file__),
    ROOT / "tests/contract/test_words.py",
    ROOT / "tpmconsole/share/manual/commands.md",
    ROOT / "tpmconsole/share/manual/keys.md",
}
_QUOTED = "words: quoted"
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`{1,2})(?!`).+?\1", re.DOTALL)


class Phrase(NamedTuple):
    """A banned phrase.

    Attributes:
        pattern: finds it.
        instead: what to say.
        example: a sentence in which it is found.
    """

    pattern: re.Pattern[str]
    instead: str
    example: str


class Text(NamedTuple):
    """A piece of prose: where it begins, where it ends at the latest, and what it says."""

    line: int
    last: int
    text: str


class Found(NamedTuple):
    """A banned phrase in a file."""

    path: Path
    line: int
    words: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: '{self.words}': {self.instead}"


@cache
def phrases() -> tuple[Phrase, ...]:
    """The list of banned phrases, as ``words.tsv`` has it."""
    rows = [line.split("\t") for line in LIST.read_text("utf-8").splitlines() if line]
    return tuple(
        Phrase(re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), instead, example)
        for pattern, instead, example in rows
        if not pattern.startswith("#")
    )


def search(text: str) -> Iterator[tuple[int, str, str]]:
    """Find the banned phrases in a text.

    Returns:
        For each: its offset, its words, and what to say instead.
    """
    prose = _CODE.sub(lambda code: re.sub(r"\S", "_", code[0]), text)
    for phrase in phrases():
        for match in phrase.pattern.finditer(prose):
            yield match.start(), " ".join(match[0].split()), phrase.instead


def check(path: Path) -> list[Found]:
    """Find the banned phrases in a file, in the order of its lines."""
    found = []
    for piece in _pieces(path):
        for offset, words, instead in search(piece.text):
            line = min(piece.line + piece.text.count("\n", 0, offset), piece.last)
            found.append(Found(path, line, words, instead))
    return sorted(found)


def files(patterns: Iterable[str]) -> list[Path]:
    """The project's files that match one of some patterns, without those that quote the list."""
    paths = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(paths - _LEFT_OUT)


def _pieces(path: Path) -> Iterator[Text]:
    source = path.read_text("utf-8")
    if path.suffix == ".py":
        return _python(source)
    if path.suffix == ".md":
        source = _FENCED.sub(lambda block: "\n" * block[0].count("\n"), source)
        return iter([Text(1, source.count("\n") + 1, source)])
    numbered = enumerate(source.splitlines(), 1)
    return _comments((line, text[1:]) for line, text in numbered if text.startswith("#"))


def _python(source: str) -> Iterator[Text]:
    lines = source.splitlines()
    quoted = {number for number, line in enumerate(lines, 1) if _QUOTED in line}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    alone = [one for one in comments if one.line.lstrip().startswith("#")]
    yield from _comments((one.start[0], one.string) for one in alone)
    for one in comments:
        if one not in alone:
            yield Text(one.start[0], one.start[0], one.string)
    for piece in _strings(ast.parse(source)):
        if not quoted & set(range(piece.line, piece.last + 1)):
            yield piece


def _comments(comments: Iterable[tuple[int, str]]) -> Iterator[Text]:
    """Comments on lines that follow each other are one text."""
    block: list[str] = []
    first = last = 0
    for line, comment in comments:
        if block and line != last + 1:
            yield Text(first, last, "\n".join(block))
            block = []
        if not block:
            first = line
        block.append(comment.lstrip("#").strip())
        last = line
    if block:
        yield Text(first, last, "\n".join(block))


def _strings(tree: ast.AST) -> Iterator[Text]:
    """Every string with a space in it; what an f-string fills in is ``{}``."""
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in parts:
                continue
            text = node.value
        else:
            continue
        if " " in text:
            yield Text(node.lineno, node.end_lineno or node.lineno, text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the project, or some of its files. Returns 1 if a phrase is found."""
    parser = argparse.ArgumentParser(prog="tools.words")
    parser.add_argument("--count", action="store_true", help="count each phrase, and nothing else")
    parser.add_argument("path", nargs="*", type=Path, help="check these files or folders alone")
    args = parser.parse_args(arguments)
    chosen = [path.resolve() for path in args.path]
    found = [
        one
        for path in files((*DOCUMENTS, *CODE))
        if not chosen or any(path.is_relative_to(part) for part in chosen)
        for one in check(path)
    ]
    if args.count:
        _count(found)
    else:
        print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


def _count(found: Iterable[Found]) -> None:
    counts: dict[str, int] = {}
    for one in found:
        counts[one.instead] = counts.get(one.instead, 0) + 1
    for instead, number in sorted(counts.items(), key=lambda pair: -pair[1]):
        print(f"{number:5}  {instead}")


if __name__ == "__main__":
    sys.exit(main())
