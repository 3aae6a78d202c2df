"""The manual's text, as the console shows it."""

from __future__ import annotations

import pytest

from tpmconsole.board.manual import WIDTH, Section, read_manual, search


@pytest.fixture(scope="module")
def manual() -> tuple[Section, ...]:
    return read_manual()


def test_every_section_has_text_that_fits_any_line(manual: tuple[Section, ...]) -> None:
    assert len(manual) > 50
    for section in manual:
        assert section.lines, section.title
        for line in (section.title, *section.lines):
            assert len(line) <= WIDTH
            assert line.isascii()
            assert "`" not in line


def test_terms_items_and_code_keep_their_form(manual: tuple[Section, ...]) -> None:
    sections = {(one.page, one.title): "\n".join(one.lines) for one in manual}
    assert "\n4\n    the TPM refused: " in sections["tpmconsole(1)", "Exit status"]
    assert "\n1. --tcti T on" in sections["tpmconsole(1)", "Which TPM is used"]
    assert "\nwarn_days = 45\n" in f"\n{sections['tpmconsole.toml(5)', 'Example']}"
    assert sections["Commands", "status"].startswith("usage: tpmconsole status ")


def test_a_search_finds_titles_first_and_the_line(manual: tuple[Section, ...]) -> None:
    hits = search(manual, "Kiosk")
    assert manual[hits[0].section].title == "Kiosk"
    found = [manual[hit.section].title for hit in hits]
    assert {"install kiosk", "The table [kiosk]"} <= set(found)
    (hit,) = search(manual, "reset_count restart_count")
    assert "reset_count" in manual[hit.section].lines[hit.line]
    assert search(manual, "no-such-word") == []
