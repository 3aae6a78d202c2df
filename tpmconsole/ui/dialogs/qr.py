"""Shows a request as a QR code, if one code with all of it fits on the screen."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tpmconsole.ui.dialogs.sheet import Sheet

QUIET = 4  # light modules around it: ISO/IEC 18004, 5.3.8
BAR_LINES = 2  # title and keys
_LIGHT, _DARK = "ansi_black on ansi_bright_white", "ansi_bright_white on ansi_black"


@dataclass(frozen=True, slots=True)
class QrCode:
    """Rows of modules, including the quiet zone; True is dark."""

    rows: tuple[tuple[bool, ...], ...]

    def cells(self, *, blocks: bool) -> tuple[int, int]:
        """The number of columns and lines that the code takes.

        Args:
            blocks: use half blocks, with two modules a cell; otherwise a module is two spaces.
        """
        size = len(self.rows)
        return (size, (size + 1) // 2) if blocks else (2 * size, size)


def qr_code(data: bytes) -> QrCode | None:
    """Make the smallest code that holds all the data; None if it is too long for any code.

    The error correction is the lowest: a screen has no scratches, and every module counts.
    """
    import segno

    try:
        code = segno.make(data, error="l", mode="byte", micro=False, boost_error=False)
    except segno.DataOverflowError:
        return None
    rows = code.matrix_iter(scale=1, border=QUIET)
    return QrCode(tuple(tuple(bool(one) for one in row) for row in rows))


def drawn(code: QrCode, *, blocks: bool) -> Content:
    """Draw the code dark on light: not every camera reads light on dark."""
    if blocks:
        return Content.styled("\n".join(_half_blocks(code)), _DARK)
    lines = []
    for row in code.rows:
        runs = ((dark, len(list(run))) for dark, run in groupby(row))
        parts = [("  " * length, _DARK if dark else _LIGHT) for dark, length in runs]
        lines.append(Content.assemble(*parts))
    return Content("\n").join(lines)


def _half_blocks(code: QrCode) -> list[str]:
    """Draw the light modules: a cell shows two modules, one above the other."""
    dark = (True,) * len(code.rows)
    rows = [*code.rows, dark] if len(code.rows) % 2 else list(code.rows)
    marks = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(marks[one] for one in zip(upper, lower, strict=True)) for upper, lower in pairs]


class QrSheet(Sheet[None]):
    """Shows the code until a key is pressed.

    Args:
        title: what to do with it.
        code: the code.
        blocks: as in ``QrCode.cells``.
    """

    def __init__(self, title: str, code: QrCode, *, blocks: bool) -> None:
        super().__init__(title)
        self.code = code
        self.blocks = blocks

    def keys(self) -> tuple[tuple[str, str], ...]:
        return (("escape", "Close"),)

    def body(self) -> ComposeResult:
        yield Static(drawn(self.code, blocks=self.blocks), classes="qr")

    def pressed(self, event: events.Key) -> None:
        if event.key in ("enter", "q"):
            event.stop()
            self.dismiss(None)
