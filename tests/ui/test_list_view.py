"""Which items of a list are shown, and in which order."""

from __future__ import annotations

from tpmconsole.ui.widgets.list_view import ListView
from tpmconsole.ui.widgets.table import Column

COLUMNS = (Column("name", 10), Column("kind", 5), Column("SHA-256", 20, digest=True))
Row = tuple[str, str, str]


def items(count: int) -> list[Row]:
    return [(f"key-{n}", "RSA" if n % 2 else "EC", f"{n:02x}ec") for n in range(count)]


def view() -> ListView[Row]:
    return ListView(lambda item: item, lambda item: item[0], COLUMNS)


def names(shown: ListView[Row]) -> list[str]:
    return [name for name, *_ in shown.shown]


def test_a_view_narrows_and_grows() -> None:
    shown, keys = view(), items(12)
    shown.replace(keys[:4])
    shown.narrow("ec ke")
    assert names(shown) == ["key-0", "key-2"]
    shown.add(keys[4:])
    assert names(shown) == [f"key-{n}" for n in range(0, 12, 2)]
    assert shown.index("key-10") == 5
    assert shown.index("key-11") is None
    shown.narrow("ec key-1")
    assert names(shown) == ["key-10"]
    shown.narrow("ec key-")
    assert len(shown.shown) == 6
    shown.narrow("")
    assert len(shown.shown) == len(shown.all) == 12


def test_a_digest_is_found_by_its_beginning_only() -> None:
    shown = view()
    shown.replace(items(12))
    shown.narrow("0b")
    assert names(shown) == ["key-11"]
    shown.narrow("bec")
    assert names(shown) == []


def test_sorting_goes_through_the_columns_each_of_them_both_ways() -> None:
    shown, keys = view(), items(12)
    shown.replace(keys)
    orders = []
    for _ in range(2 * len(COLUMNS) + 1):
        shown.sort_by_next()
        orders.append((shown.order, shown.shown[0][0]))
    assert orders[:3] == [
        ("by name", "key-0"),
        ("by name, reversed", "key-11"),
        ("by kind", "key-0"),
    ]
    assert orders[-1] == ("", "key-0")
    assert shown.shown == keys
    shown.sort_by_next()
    assert names(shown)[2] == "key-2"  # not key-10
