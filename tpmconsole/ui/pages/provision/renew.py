"""Asking for the same certificate again: with the same key, or with a new one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tpmconsole.board.requests import renew
from tpmconsole.tpm.auth import Auth, secret
from tpmconsole.tpm.model import algorithm_words
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.dialogs.form import FormDialog
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.pages.keys.forms import name_field, password_fields
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.pages.provision.request import Requesting

if TYPE_CHECKING:
    from tpmconsole.identity.summary import Summary

_NUMBER = re.compile(r"(.*?)-?(\d+)")


class Renewing:
    """One renewal.

    Args:
        page: where it is asked for.
        identity: whose certificate ends.
        drafts: as in ``Requesting``.
        done: called with the name of the identity whose request was made.
    """

    def __init__(
        self,
        page: Page,
        identity: Summary,
        drafts: dict[str, Mapping[str, str]],
        done: Callable[[str], None],
    ) -> None:
        self._page = page
        self._identity = identity
        self._drafts = drafts
        self._done = done

    def start(self) -> None:
        """Ask with which key."""
        name = self._identity.name
        options = [
            Option("s", "The same key", "the certificate changes, the key stays"),
            Option("n", "A new key", "as a new identity; this one goes on"),
        ]
        self._page.app.push_screen(MenuDialog(f"Renew {name}", options), self._chosen)

    def _chosen(self, key: str | None) -> None:
        name = self._identity.name
        if key == "s":
            Requesting(
                self._page,
                self._identity,
                self._drafts,
                lambda: self._done(name),
                renewal=True,
            ).start()
        elif key == "n":
            self._ask_name()

    def _ask_name(self) -> None:
        fields = [
            name_field(self._page, next_name(self._identity.name)),
            *password_fields(),
        ]
        self._page.app.push_screen(
            FormDialog(f"A new key, to renew {self._identity.name}", fields),
            lambda values: self._make(values) if values else None,
        )

    def _make(self, values: Mapping[str, str]) -> None:
        name, board = self._identity.name, self._page.board
        new, password = values["name"], secret(values["password"].encode() or None)

        def work(known: Auth) -> Any:
            return renew(board, name, replace(known, key=password), new_name=new)

        label = f"making an {algorithm_words(self._identity.algorithm)} key in the TPM"
        do(self._page, Action(label, new, work, lambda _: self._done(new)))


def next_name(name: str) -> str:
    """What the next one is called: ``pump-2`` after ``pump``, ``pump-3`` after that."""
    found = _NUMBER.fullmatch(name)
    if found is None:
        return f"{name}-2"
    return f"{name[: found.start(2)]}{int(found[2]) + 1}"
