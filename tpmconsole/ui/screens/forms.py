"""Forms that more than one page offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tpmconsole.errors import usage_error
from tpmconsole.inputs import parse_handle, user_path
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.screens.page import Page


def check_path(text: str) -> None:
    """Let a form refuse what cannot be a path.

    Raises:
        ConsoleError: it is none.
    """
    user_path(text)


def ask_create(page: Page, done: Callable[[Any], None]) -> None:
    """Ask for a name, an algorithm and a password, and make the key."""

    def check(values: Mapping[str, str]) -> None:
        page.board.identities.reserve(values["name"])
        if values["handle"]:
            parse_handle(values["handle"])
        if values["password"] != values["again"]:
            raise usage_error("Passwords differ", "the two passwords differ", "type them again")

    def go(values: Mapping[str, str] | None) -> None:
        if not values:
            return
        algorithm = Algorithm(values["algorithm"])
        handle = parse_handle(values["handle"]) if values["handle"] else None
        password = values["password"].encode() or None
        page.job(
            f"making an {algorithm.value} key in the TPM",
            lambda: page.board.keyring.create(values["name"], algorithm, password, handle),
            done,
        )

    page.app.push_screen(
        FormDialog(
            "New key in the TPM",
            [
                Field("name", "Name", hint="of the identity: letters, digits, . _ -"),
                Field(
                    "algorithm",
                    "Algorithm",
                    choices=tuple(one.value for one in Algorithm),
                    hint="left and right change it; RSA may take a chip a minute",
                ),
                Field("password", "Password", secret=True, hint="empty: none; at most 64 bytes"),
                Field("again", "Again", secret=True, hint="the same password"),
                Field(
                    "handle",
                    "Handle",
                    hint="empty: a key file; or 0x81000010 to keep the key inside the TPM",
                ),
            ],
            check,
        ),
        go,
    )
