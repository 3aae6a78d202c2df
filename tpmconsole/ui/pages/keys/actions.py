"""Moving a key to a persistent handle, and removing one from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tpmconsole.board.dependents import dependents
from tpmconsole.board.keys import evict, persist
from tpmconsole.board.phrases import MOVED_FOR_GOOD
from tpmconsole.text import printable
from tpmconsole.tpm.handles import check_for_new_key, parse_handle
from tpmconsole.tpm.model import PersistentKey
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.dialogs.message import ConfirmDialog
from tpmconsole.ui.pages.page import Page

FREE_HANDLE = "0x81000010"
MOST_NAMED = 6  # lines: a dialog has to fit a screen of 24


def ask_persist(page: Page, name: str, done: Callable[[str], None]) -> None:
    """Ask for a handle and move an identity's key there.

    Args:
        done: gets what has happened, in words.
    """

    def go(values: Mapping[str, str] | None) -> None:
        if not values:
            return
        handle = parse_handle(values["handle"])
        action = Action(
            "moving the key into the TPM",
            name,
            lambda passwords: persist(page.board, name, handle, passwords),
            lambda _: done(f"{name} is now at 0x{handle:08x}"),
            source=lambda: page.board.source(page.board.identities.get(name)),
        )
        do(page, action)

    def check(values: Mapping[str, str]) -> None:
        check_for_new_key(parse_handle(values["handle"]))

    hint = f"0x81000002 to 0x817fffff{_room(page)}"
    field = Field("handle", "Handle", FREE_HANDLE, hint, check=check)
    notice = f"Once the key is there, {MOVED_FOR_GOOD}."
    page.app.push_screen(FormDialog(f"Persist {name}", [field], notice=notice), go)


def _room(page: Page) -> str:
    health = page.console.health
    room = health.persistent if health else None
    return f"; room for {room.available} more" if room else ""


def ask_evict(page: Page, key: PersistentKey, done: Callable[[str], None]) -> None:
    """Name what depends on a persistent key, and after a yes remove it.

    Args:
        done: gets what has happened, in words.
    """
    page.job(
        f"looking for what needs {key.handle}",
        lambda: dependents(page.board, key),
        partial(_confirm, page, key, done),
    )


def _confirm(page: Page, key: PersistentKey, done: Callable[[str], None], lost: Any) -> None:
    lines = [f"{key.algorithm}, {key.purpose}, is lost for good."]
    if lost:
        lines.append("Without it these no longer work:")
        lines += [f"- {printable(one)}" for one in lost[:MOST_NAMED]]
    if len(lost) > MOST_NAMED:
        lines.append(f"- and {len(lost) - MOST_NAMED} more")
    page.app.push_screen(
        ConfirmDialog(f"Evict {key.handle}", "\n".join(lines), "Remove it from the TPM?"),
        lambda yes: _evict(page, key, done) if yes else None,
    )


def _evict(page: Page, key: PersistentKey, done: Callable[[str], None]) -> None:
    handle = int(key.handle, 16)
    action = Action(
        "removing the key",
        key.handle,
        lambda passwords: evict(page.board, handle, passwords),
        lambda _: done(f"{key.handle} evicted"),
    )
    do(page, action)
