"""Step 2 of the walk: a form, a preview of exactly what will be asked, and the TPM's signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    renewal_spec,
    spec_of_form,
)
from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.auth import Auth
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.dialogs.review import ReviewDialog
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.rows import Fact

if TYPE_CHECKING:
    from tpmconsole.identity.summary import Summary
    from tpmconsole.x509.request_spec import Line, RequestSpec

ROLES = ("client", "server", "both")
_FIELDS = (
    ("CN", "CN", "common name: what peers know this device by"),
    ("serialNumber", "serialNumber", "the device's serial number; may be empty"),
    ("OU", "OU", "organizational unit; may be empty"),
    ("O", "O", "organization; may be empty"),
    ("L", "L", "locality, such as a town; may be empty"),
    ("ST", "ST", "state or province; may be empty"),
    ("C", "C", "country: two capital letters, such as DE; may be empty"),
)
_SUBJECT = "instead of the fields above: all in one, such as CN=gateway,DC=example,DC=com"


class Requesting:
    """One request, from the form to the signature.

    Args:
        page: where it is asked for.
        identity: whose it is.
        drafts: what was typed and could not be signed, by identity; kept until it is.
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
        """Open the form, filled with what was asked last, else from the template."""
        draft = self._drafts.get(self._identity.name)
        if draft is not None:
            self._ask(draft)
        else:
            self._page.job("", self._defaults, lambda found: self._ask(*found))

    def _defaults(self) -> tuple[dict[str, str], str]:
        """The form's values, and what is wrong with where they come from; runs in a thread."""
        name = self._identity.name
        board = self._page.board
        role = self._identity.role or "client"
        try:
            if self._renewal:
                return form_values(renewal_spec(board, name)), ""
            spec = self._last_spec() or default_spec(board, role)
            return form_values(spec), ""
        except ConsoleError as error:  # a template that is no good keeps nobody from typing
            empty = {"CN": name, "role": role}
            return empty, f"{error.title}: {error.cause}; {say(error.remedy)}"

    def _last_spec(self) -> RequestSpec | None:
        try:
            return last_spec(self._page.board, self._identity.name)
        except ConsoleError:  # damaged: it is about to be made anew
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
                "alternative names: dns:, ip:, uri: or email:; blanks between",
                check=_check_names,
            ),
            Field("role", "Role", values.get("role", ""), "decides the key usages", ROLES),
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
            ReviewDialog("This will be asked", facts, [("enter", "Sign it in the TPM")]),
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
