"""A request as a QR code: all of it or nothing, and drawn as cameras read it."""

from __future__ import annotations

from tpmconsole.ui.dialogs.qr import QUIET, QrCode, drawn, qr_code

FINDER = ("#######", "#     #", "# ### #", "# ### #", "# ### #", "#     #", "#######")


def _code(size: int = 500) -> QrCode:
    code = qr_code(b"x" * size)
    assert code is not None
    return code


def test_it_has_a_quiet_zone_and_a_finder_in_its_corner() -> None:
    rows = _code().rows
    assert len(rows) == len(rows[0])
    assert not any(any(row) for row in rows[:QUIET])
    corner = ["".join(" #"[one] for one in row[QUIET : QUIET + 7]) for row in rows[QUIET:][:7]]
    assert tuple(corner) == FINDER


def test_half_blocks_draw_what_is_light() -> None:
    code = _code()
    upper = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
    lines = drawn(code, blocks=True).plain.splitlines()
    pairs = [[upper[cell] for cell in line] for line in lines]
    rows = [tuple(bool(cell[half]) for cell in line) for line in pairs for half in (0, 1)]
    assert tuple(rows[: len(code.rows)]) == code.rows
    assert (len(lines[0]), len(lines)) == code.cells(blocks=True)


def test_without_half_blocks_a_module_is_two_blanks() -> None:
    code = _code()
    content = drawn(code, blocks=False)
    lines = content.plain.splitlines()
    assert content.plain.isascii()
    assert (len(lines[0]), len(lines)) == code.cells(blocks=False)
    width = len(lines[0]) + 1  # with the end of the line
    for span in content.spans:
        row, column = divmod(span.start, width)
        dark = str(span.style).endswith("on ansi_black")
        assert dark == code.rows[row][column // 2]
    assert sum(span.end - span.start for span in content.spans) == 2 * len(code.rows) ** 2


def test_what_no_code_holds_is_none() -> None:
    assert qr_code(b"x" * 2953) is not None
    assert qr_code(b"x" * 2954) is None
