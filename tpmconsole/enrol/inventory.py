"""Which chip is in which board: a CSV file that the CA's operator keeps.

A line has the fingerprint of a chip's endorsement key (SHA-256 of its SubjectPublicKeyInfo, as
``attest check`` shows it), the board's name, and optionally further names that it may have in its
certificate, with spaces between them: ``dns:gateway.local ip:192.0.2.7``. A chip with two
endorsement keys may have two lines. Empty lines, lines that begin with ``#`` and a heading are left
out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.system.encodings import as_utf8
from tpmconsole.text import printable

MAX_BYTES = 16 * 1024 * 1024
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_HEADINGS = ("ek", "fingerprint", "sha256", "sha-256")


@dataclass(frozen=True, slots=True)
class Board:
    """One board.

    Attributes:
        name: what its certificate's common name has to be.
        names: the alternative names that it may have, as ``dns:gateway.local``; its own name
            always may be one.
    """

    name: str
    names: frozenset[str] = field(default_factory=frozenset)

    def may_have(self, alternative_name: str) -> bool:
        """Whether its certificate may have an alternative name."""
        wanted = alternative_name.lower()
        return wanted == f"dns:{self.name}".lower() or wanted in self.names


Inventory = Mapping[str, Board]


def read_inventory(data: bytes) -> Inventory:
    """The boards by the fingerprint of their chip's endorsement key.

    Raises:
        ConsoleError: a line cannot be read, or two lines put one chip in different boards.
    """
    boards: dict[str, Board] = {}
    for number, row in _rows(data):
        fingerprint = row[0].lower().replace(":", "").replace(" ", "")
        if number == 1 and fingerprint in _HEADINGS:
            continue
        if not _FINGERPRINT.fullmatch(fingerprint) or len(row) < 2 or not row[1]:
            raise _wrong(number, "it is not a SHA-256 in hexadecimal, a comma, and a name")
        names = frozenset(" ".join(row[2:]).lower().split())
        board = Board(row[1], names)
        if boards.setdefault(fingerprint, board) != board:
            raise _wrong(number, f"its chip is that of '{boards[fingerprint].name}' already")
    return boards


def _rows(data: bytes) -> Iterator[tuple[int, list[str]]]:
    if len(data) > MAX_BYTES:
        raise usage_error(
            "Inventory not read", f"it has more than {MAX_BYTES} bytes", "check the file"
        )
    text = as_utf8(data).decode("utf-8", "replace")
    try:
        for number, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
            cells = [cell.strip() for cell in row]
            if any(cells) and not cells[0].startswith("#"):
                yield number, cells
    except csv.Error as error:
        raise _wrong(0, printable(str(error))) from error


def _wrong(number: int, why: str) -> ConsoleError:
    return usage_error(
        "Inventory not read",
        f"line {number}: {why}",
        "write lines such as: 5e1f...(64 digits),gateway-7,dns:gateway-7.example.com",
    )
