"""Forms that more than one page offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.board.adopt import adopt_key
from tpmconsole.board.check_keys import key_ref
from tpmconsole.board.keys import create_key, software_key
from tpmconsole.board.phrases import BETTER_MADE_HERE, guard_words, import_warning
from tpmconsole.errors import usage_error
from tpmconsole.inputs import user_path
from tpmconsole.tpm.auth import Auth, check_password, secret
from tpmconsole.tpm.handles import check_for_new_key, parse_handle
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.dialogs.files import FilesSheet
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.pages.keys.check import known_of
from tpmconsole.ui.pages.keys.details import title
from tpmconsole.ui.pages.page import Page

if TYPE_CHECKING:
    from tpmconsole.identity.identity import Identity
    from tpmconsole.tpm.model import KeyFile, PersistentKey, SoftwareKey

NOTHING: Mapping[str, str] = {}
NOT_COUNTED = "do not count"
_IMPORT = "Import a key made elsewhere"
GUARDS = ("count towards lock-out", NOT_COUNTED)
GUARD_HINT = (
    "If they count, the TPM locks all such keys after a few. "
    "If not, anyone with the board can guess forever."
)


def _check_handle(values: Mapping[str, str]) -> None:
    if values["handle"]:
        check_for_new_key(parse_handle(values["handle"]))


def name_field(page: Page, value: str = "") -> Field:
    """Asks for the name of a new identity."""

    def check(values: Mapping[str, str]) -> None:
        page.board.identities.reserve(values["name"])

    return Field("name", "Name", value, "of the identity: letters, digits, . _ -", check=check)


def password_fields(before: Mapping[str, str] = NOTHING) -> tuple[Field, Field]:
    """Ask for a new key's password, twice.

    Args:
        before: what was typed the last time; a user who wanted a password then must not get a key
            without one because the form came back empty.
    """

    def check(values: Mapping[str, str]) -> None:
        check_password(values["password"].encode())

    def check_again(values: Mapping[str, str]) -> None:
        if values["password"] != values["again"]:
            raise usage_error("Passwords differ", "the two passwords differ", "type them again")

    hint = "empty: none; at most 64 bytes"
    return (
        Field(
            "password",
            "Password",
            secret=True,
            hint=hint,
            check=check,
            demanded="protected" in before,
        ),
        Field(
            *("again", "Again"),
            secret=True,
            hint="the same password",
            with_="password",
            check=check_again,
        ),
    )


def ask_create(
    page: Page, done: Callable[[Any], None], before: Mapping[str, str] = NOTHING
) -> None:
    """Ask for a name, an algorithm and a password, and make the key.

    Args:
        done: called with the new identity.
        before: what was typed the last time, when it failed.
    """

    def go(values: Mapping[str, str] | None) -> None:
        if values:
            algorithm = {one.words: one for one in Algorithm}[values["algorithm"]]
            again = partial(ask_create, page, done, not_secret(values))
            label = f"making an {algorithm.words} key"
            _make(page, values, lambda _: algorithm, label, done, again)

    algorithm = Field(
        "algorithm",
        "Algorithm",
        before.get("algorithm", ""),
        choices=tuple(one.words for one in Algorithm),
        hint="left and right change it; RSA may take a chip a minute",
    )
    fields = [name_field(page, before.get("name", "")), algorithm, *_key_fields(before)]
    page.app.push_screen(FormDialog("New key in the TPM", fields, notice=_guessing(page)), go)


def _guessing(page: Page) -> str:
    """What to know before choosing a password; empty if the TPM limits guessing."""
    lockout = page.console.health.lockout if page.console.health else None
    if lockout is None or not lockout.off:
        return ""
    words = guard_words(password=True, noda=False, lockout=lockout)
    return f"{words[0].upper()}{words[1:]}."


def ask_import(page: Page, done: Callable[[Any], None]) -> None:
    """Ask for the file of a private key made elsewhere, and wrap it into the TPM.

    Args:
        done: called with the new identity.
    """

    def chosen(path: Path | None) -> None:
        if path is not None:
            _ask_import(page, done, {"source": str(path)})

    page.app.push_screen(FilesSheet(_IMPORT), chosen)


def _ask_import(page: Page, done: Callable[[Any], None], before: Mapping[str, str]) -> None:
    """Ask for the rest.

    Args:
        before: the file, and what was typed the last time, when it failed.
    """

    def check(values: Mapping[str, str]) -> None:
        user_path(values["source"])

    def go(values: Mapping[str, str] | None) -> None:
        if not values:
            return
        path = user_path(values["source"])

        def imported(identity: Any) -> None:
            done(identity)
            warning = "\n\n".join(import_warning(str(path.absolute())))
            page.console.show_text(f"{identity.name}: imported", warning)

        _make(
            page,
            values,
            lambda passwords: software_key(path, passwords.source),
            f"importing {path.name}",
            imported,
            partial(_ask_import, page, done, not_secret(values)),
        )

    hint = "PEM, DER or PKCS#12: EC or RSA; encrypted or not"
    source = Field("source", "File", before.get("source", ""), hint, check=check)
    page.app.push_screen(
        FormDialog(
            _IMPORT,
            [name_field(page, before.get("name", "")), source, *_key_fields(before)],
            notice=f"WARNING: {BETTER_MADE_HERE}. {_guessing(page)}".rstrip(),
        ),
        go,
    )


def ask_adopt(
    page: Page,
    key: KeyFile | PersistentKey,
    persistent: Sequence[PersistentKey],
    done: Callable[[Any], None],
) -> None:
    """Ask for a name, and make an identity of an existing key.

    Args:
        persistent: the keys at the TPM's handles; its parent may be one of them.
        done: called with the new identity.
    """

    def go(values: Mapping[str, str] | None) -> None:
        if values:
            name = values["name"]
            adopt = Action(
                "letting the TPM sign",
                title(key),
                lambda known: adopt_key(page.board, name, key, known),
                done,
                source=lambda: key_ref(key),
            )
            do(page, adopt, known=known_of(key, persistent))

    page.app.push_screen(FormDialog(f"Adopt {title(key)}", [name_field(page)]), go)


def _key_fields(before: Mapping[str, str]) -> list[Field]:
    """The fields for every new key, after its name; passwords must be typed again."""
    return [
        *password_fields(before),
        Field(
            "guard",
            "Wrong passwords",
            before.get("guard", ""),
            choices=GUARDS,
            hint=GUARD_HINT,
            with_="password",
        ),
        Field(
            "handle",
            "Handle",
            before.get("handle", ""),
            hint="empty: a key file; or 0x81000010 to keep the key inside the TPM",
            check=_check_handle,
        ),
    ]


def not_secret(values: Mapping[str, str]) -> dict[str, str]:
    """The values for filling a form again; of a password, only whether there was one."""
    kept = {name: value for name, value in values.items() if name not in ("password", "again")}
    return kept | ({"protected": "yes"} if values.get("password") else {})


def _make(
    page: Page,
    values: Mapping[str, str],
    kind: Callable[[Auth], Algorithm | SoftwareKey],
    label: str,
    done: Callable[[Any], None],
    again: Callable[[], None],
) -> None:
    """Make the identity, with the passwords that prove to be needed."""
    handle = parse_handle(values["handle"]) if values["handle"] else None
    password = secret(values["password"].encode() or None)

    def work(known: Auth) -> Identity:
        return create_key(
            page.board,
            values["name"],
            kind(known),
            replace(known, key=password),
            handle,
            noda=values["guard"] == NOT_COUNTED,
        )

    name = values.get("source", values["name"])
    do(page, Action(label, name, work, done, again=again))
