"""Step 2: a form, a preview of exactly what will be requested, and the TPM's signature."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tpmconsole.board.requests import (
    check_san,
    check_subject,
    check_subject_field,
    default_spec,
    form_values,
    last_spec,
    make_request,
    preview_request,
    renew,
    renewal_spec,
    spec_of_form,
)
from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.auth import Auth, secret
from tpmconsole.tpm.model import algorithm_words
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.dialogs.message import ReviewDialog
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.pages.keys.forms import name_field, password_fields
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.rows import Fact

if TYPE_CHECKING:
    from tpmconsole.identity.summary import Summary
    from tpmconsole.x509.request_spec import Line, RequestSpec

ROLES = ("client", "server", "both")
STRING_TYPES = ("utf8", "printable")
_FIELDS = (
    ("CN", "CN", "common name: what peers know this device by"),
    ("serialNumber", "serialNumber", "the device's serial number; may be empty"),
    ("OU", "OU", "organizational unit; may be empty"),
    ("O", "O", "organization; may be empty"),
    ("L", "L", "locality, such as a town; may be empty"),
    ("ST", "ST", "state or province; may be empty"),
    ("C", "C", "country: two capital letters, such as DE; may be empty"),
)
_SUBJECT = "instead of the fields above: in one line, such as CN=gateway,DC=example,DC=com"
# The hint quotes OpenSSL's message: that is what a user who needs this field has seen.
_STRING_TYPE = (
    "printable if 'openssl ca' says 'The organizationName field is different between CA "
    "certificate and the request'; else utf8"
)


class Requesting:
    """One request, from the form to the signature.

    Args:
        page: the page that shows the dialogs.
        identity: the identity that gets the request.
        drafts: what was typed but could not be signed, by identity; kept until it is signed.
        done: called when the request is made.
        renewal: ask for what the installed certificate says.
    """

    def __init__(
        self,
        page: Page,
        identity: Summary,
        drafts: dict[str, Mapping[str, str]],
        done: Callable[[], None],
        *,
        renewal: bool = False,
    ) -> None:
        self._page = page
        self._identity = identity
        self._drafts = drafts
        self._done = done
        self._renewal = renewal

    def start(self) -> None:
        """Open the form, filled from the last request or from the template."""
        draft = self._drafts.get(self._identity.name)
        if draft is not None:
            self._ask(draft)
        else:
            self._page.job("", self._defaults, lambda found: self._ask(*found))

    def _defaults(self) -> tuple[dict[str, str], str]:
        """The form's values, and the error of their source if any; runs in a thread."""
        name = self._identity.name
        board = self._page.board
        role = self._identity.role or "client"
        try:
            if self._renewal:
                return form_values(renewal_spec(board, name)), ""
            spec = self._last_spec() or default_spec(board, role)
            return form_values(spec), ""
        except ConsoleError as error:  # the user can still type if the template cannot be used
            empty = {"CN": name, "role": role}
            return empty, f"{error.title}: {error.cause}; {say(error.remedy)}"

    def _last_spec(self) -> RequestSpec | None:
        try:
            return last_spec(self._page.board, self._identity.name)
        except ConsoleError:  # damaged: it is about to be made again
            return None

    def _ask(self, values: Mapping[str, str], notice: str = "") -> None:
        fields = [
            Field(key, label, values.get(key, ""), hint, check=partial(_check_part, key))
            for key, label, hint in _FIELDS
        ]
        fields += [
            Field("subject", "Subject", values.get("subject", ""), _SUBJECT, check=_check_subject),
            Field(
                "san",
                "Names",
                values.get("san", ""),
                "alternative names: dns:, ip:, uri: or email:; spaces between",
                check=_check_names,
            ),
            Field("role", "Role", values.get("role", ""), "decides the key usages", ROLES),
            Field(
                "string_type",
                "Encoding",
                values.get("string_type", ""),
                _STRING_TYPE,
                STRING_TYPES,
                rare=True,
                check=_check_subject,
            ),
        ]
        title = "Renewal" if self._renewal else "Request"
        self._page.app.push_screen(
            FormDialog(f"{title} for {self._identity.name}", fields, notice=notice),
            self._asked,
        )

    def _asked(self, values: Mapping[str, str] | None) -> None:
        if values:
            self._drafts[self._identity.name] = values
            self._preview(values)
        else:
            self._drafts.pop(self._identity.name, None)

    def _preview(self, values: Mapping[str, str]) -> None:
        spec = spec_of_form(values)
        self._page.job(
            "reading the key",
            lambda: preview_request(self._page.board, self._identity.name, spec),
            lambda lines: self._show(values, spec, lines),
        )

    def _show(self, values: Mapping[str, str], spec: RequestSpec, lines: list[Line]) -> None:
        facts = [Fact(label, "", text) for label, text in lines]
        self._page.app.push_screen(
            ReviewDialog("What will be requested", facts, [("enter", "Sign it in the TPM")]),
            lambda key: self._sign(spec) if key else self._ask(values),
        )

    def _sign(self, spec: RequestSpec) -> None:
        board, name = self._page.board, self._identity.name

        def work(known: Auth) -> Any:
            return make_request(board, name, spec, known)

        do(
            self._page,
            Action(
                "signing the request in the TPM",
                name,
                work,
                self._signed,
                lambda: board.source(board.identities.get(name)),
            ),
            "key" if self._identity.auth == "password" else None,
        )

    def _signed(self, _: Any) -> None:
        self._drafts.pop(self._identity.name, None)
        self._done()


def _check_part(field: str, values: Mapping[str, str]) -> None:
    check_subject_field(field, values[field])


def _check_subject(values: Mapping[str, str]) -> None:
    check_subject(spec_of_form(values))


def _check_names(values: Mapping[str, str]) -> None:
    check_san(spec_of_form(values))


_NUMBER = re.compile(r"(.*?)-?(\d+)")


class Renewing:
    """One renewal.

    Args:
        page: the page that shows the dialogs.
        identity: the identity whose certificate expires.
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
        """Ask which key to use."""
        name = self._identity.name
        options = [
            Option("s", "The same key", "the certificate changes, the key stays"),
            Option("n", "A new key", "as a new identity; this one keeps working"),
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
    """The next identity's name: ``pump-2`` after ``pump``, ``pump-3`` after that."""
    found = _NUMBER.fullmatch(name)
    if found is None:
        return f"{name}-2"
    return f"{name[: found.start(2)]}{int(found[2]) + 1}"
