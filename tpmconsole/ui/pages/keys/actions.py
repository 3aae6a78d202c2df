"""Move a key to a persistent handle, and remove one from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count

from tpmconsole.board.dependents import plan_evict
from tpmconsole.board.keys import plan_persist
from tpmconsole.tpm.handles import check_for_new_key, parse_handle
from tpmconsole.tpm.model import PersistentKey
from tpmconsole.ui.confirm import plan_and_confirm
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.pages.page import Page

FIRST_HANDLE = 0x81000010


def ask_persist(
    page: Page, name: str, used: Iterable[PersistentKey], done: Callable[[str], None]
) -> None:
    """Ask for a handle and, after a confirmation, move an identity's key there.

    Args:
        used: the keys at handles; the form proposes the first free handle.
        done: called with what has happened, as text.
    """

    def go(values: Mapping[str, str] | None) -> None:
        if not values:
            return
        handle = parse_handle(values["handle"])
        plan_and_confirm(
            page,
            lambda: plan_persist(page.board, name, handle),
            lambda _: done(f"{name} is now at 0x{handle:08x}"),
        )

    def check(values: Mapping[str, str]) -> None:
        check_for_new_key(parse_handle(values["handle"]))

    taken = {int(key.handle, 16) for key in used}
    free = next(handle for handle in count(FIRST_HANDLE) if handle not in taken)
    hint = f"0x81000002 to 0x817fffff{_room(page)}"
    field = Field("handle", "Handle", f"0x{free:08x}", hint, check=check)
    page.app.push_screen(FormDialog(f"Persist {name}", [field]), go)


def _room(page: Page) -> str:
    health = page.console.health
    room = health.persistent if health else None
    return f"; room for {room.available} more" if room else ""


def ask_evict(page: Page, key: PersistentKey, done: Callable[[str], None]) -> None:
    """Name what depends on a persistent key and, after a confirmation, remove it.

    Args:
        done: called with what has happened, as text.
    """
    plan_and_confirm(
        page,
        lambda: plan_evict(page.board, int(key.handle, 16)),
        lambda _: done(f"{key.handle} evicted"),
    )
