"""Page 3: the walk from a key in the TPM to an installed certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.widget import Widget

from tpmconsole.files import read_bounded, write_atomic
from tpmconsole.inputs import user_path
from tpmconsole.provision import CERTIFICATE_BYTES
from tpmconsole.ui.commands import Command
from tpmconsole.ui.dialogs.form import Field, FormDialog
from tpmconsole.ui.screens.forms import ask_create, check_path
from tpmconsole.ui.screens.page import Page
from tpmconsole.ui.styled import Fact
from tpmconsole.ui.widgets.facts import Facts
from tpmconsole.ui.widgets.table import Table

if TYPE_CHECKING:
    from tpmconsole.identity.certificate import Judgement, Verdict
    from tpmconsole.identity.summary import Summary

COLUMNS = (("IDENTITY", 22), ("KEY", 10), ("STATE", 10), ("CERTIFICATE", 32))
ROLES = ("client", "server", "both")


class ProvisionPage(Page):
    """Identities above, the steps of the chosen one below."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._summaries: list[Summary] = []

    def compose(self) -> ComposeResult:
        yield Table(COLUMNS, state_column=2)
        yield Facts(classes="detail")

    def commands(self) -> tuple[Command, ...]:
        def chosen(*states: str) -> bool:
            one = self._chosen()
            return one is not None and (not states or one.state in states)

        def requested() -> bool:
            one = self._chosen()
            return one is not None and one.request_subject is not None

        def simulated() -> bool:
            health = self.console.health
            return requested() and health is not None and health.simulated

        return (
            Command("n", "New key", "make a key in the TPM, as a new identity", self._create),
            Command("r", "Request", "make the certificate request", self._request, chosen),
            Command("i", "Import", "check and install a certificate", self._import, chosen),
            Command("enter", "Next", "go on with this identity", self._next),
            # These come and go with the row: last, so that the others keep their place.
            Command("d", "Demo CA", "let the simulator's CA sign it", self._demo, simulated),
            Command("v", "View", "show the request in PEM", self._view, requested, kiosk=True),
            Command("w", "Write", "write the request to a file", self._write, requested),
        )

    def focus_target(self) -> Widget:
        return self._table

    def refresh_data(self) -> None:
        self.job("", self.board.summaries, self._listed)

    @property
    def _table(self) -> Table:
        return self.query_one(Table)

    def _chosen(self) -> Summary | None:
        row = self._table.chosen
        return None if row is None else self._summaries[row]

    # What is shown

    def _listed(self, summaries: Any) -> None:
        self._summaries = summaries
        self._table.present(
            [(one.name, one.algorithm, one.state, one.detail) for one in self._summaries]
        )
        self._show_steps()

    def on_data_table_row_highlighted(self) -> None:
        self._show_steps()

    def _show_steps(self) -> None:
        one = self._chosen()
        facts = [Fact("1 Key", "NEXT", "n: make a key in the TPM")]
        if one is not None:
            simulated = self.console.health is not None and self.console.health.simulated
            facts = step_facts(one, simulated)
        self.query_one(Facts).present(facts)
        self.console.main.show_keys()

    def health_changed(self) -> None:
        if self.is_mounted:
            self._show_steps()

    # The steps

    def _next(self) -> None:
        one = self._chosen()
        simulated = self.console.health is not None and self.console.health.simulated
        if one is None:
            self._create()
        elif one.state == "KEY":
            self._request()
        elif one.state == "REQUEST":
            if simulated:
                self._demo()
            else:
                self._import()
        else:
            self.console.main.say(f"{one.name} is ready: start a session on page 4")

    def _create(self) -> None:
        ask_create(self, lambda identity: self._changed(f"{identity.name}: key made in the TPM"))

    def _changed(self, message: str) -> None:
        self.console.main.say(message)
        self.refresh_data()

    def _request(self) -> None:
        one = self._chosen()
        if one is None:
            return
        from tpmconsole.identity.request import RequestSpec, parse_san, parse_subject

        def spec(values: Mapping[str, str]) -> RequestSpec:
            names = tuple(values["san"].replace(",", " ").split())
            return RequestSpec(subject=values["subject"], san=names, role=values["role"])

        def check(values: Mapping[str, str]) -> None:
            parse_subject(values["subject"])
            parse_san(spec(values).san)

        def go(values: Mapping[str, str] | None) -> None:
            if values:
                password = values.get("password", "").encode() or None
                self.job(
                    "signing the request in the TPM",
                    lambda: self.board.provision.request(one.name, spec(values), password),
                    lambda _: self._changed(f"{one.name}: request made; hand it to your CA"),
                )

        fields = [
            Field(
                "subject",
                "Subject",
                one.request_subject or f"CN={one.name}",
                "RFC 4514, such as CN=gateway,O=Example,C=DE",
            ),
            Field(
                "san", "Names", f"dns:{one.name}", "dns:, ip:, uri: or email:, with spaces between"
            ),
            Field("role", "Role", one.role or "both", "what the certificate is for", ROLES),
        ]
        if one.auth == "password":
            fields.append(Field("password", "Password", hint="of this key", secret=True))
        self.app.push_screen(FormDialog(f"Request for {one.name}", fields, check), go)

    def _request_pem(self, name: str) -> str:
        path = self.board.identities.get(name).request
        return read_bounded(path, CERTIFICATE_BYTES).decode("ascii", "replace")

    def _view(self) -> None:
        if (one := self._chosen()) is not None:
            self.job(
                "",
                lambda: self._request_pem(one.name),
                lambda pem: self.console.show_text(f"Request of {one.name}", pem.strip()),
            )

    def _write(self) -> None:
        one = self._chosen()
        if one is None:
            return

        def go(values: Mapping[str, str] | None) -> None:
            if values:
                path = user_path(values["path"])
                self.job(
                    "writing the request",
                    lambda: write_atomic(path, self._request_pem(one.name).encode()),
                    lambda _: self.console.main.say(f"{path} written: hand it to your CA"),
                )

        field = Field("path", "File", f"~/{one.name}.csr", "where the request is written")
        self.app.push_screen(
            FormDialog(
                f"Write the request of {one.name}",
                [field],
                lambda values: check_path(values["path"]),
            ),
            go,
        )

    def _demo(self) -> None:
        if (one := self._chosen()) is not None:
            self.job(
                "the demo CA signs",
                lambda: self.board.installer.demo_sign(one.name),
                lambda judgement: self._judged(one.name, judgement.verdicts, True),
            )

    def _import(self) -> None:
        one = self._chosen()
        if one is None:
            return

        def go(values: Mapping[str, str] | None) -> None:
            if values:
                self.job(
                    "checking the certificate",
                    lambda: self._check_and_install(one.name, values),
                    lambda answer: self._judged(one.name, *answer),
                )

        trust = "empty: keep the ones there are" if one.has_trust else "the CA's certificate"
        self.app.push_screen(
            FormDialog(
                f"Import the certificate of {one.name}",
                [
                    Field("certificate", "Certificate", hint="file: PEM, DER or PKCS#7"),
                    Field("trust", "Trust", hint=f"file with the trust anchors; {trust}"),
                    Field("role", "Role", one.role or "client", "what it is for", ROLES),
                ],
            ),
            go,
        )

    def _check_and_install(
        self, name: str, values: Mapping[str, str]
    ) -> tuple[Sequence[Verdict], bool]:
        def read(path: str) -> bytes:
            return read_bounded(user_path(path), CERTIFICATE_BYTES)

        trust = read(values["trust"]) if values["trust"] else None
        judgement: Judgement = self.board.installer.judge(
            name, [read(values["certificate"])], trust, values["role"]
        )
        if judgement.acceptable:
            self.board.installer.install(name, judgement)
        return judgement.verdicts, judgement.acceptable

    def _judged(self, name: str, verdicts: Sequence[Verdict], installed: bool) -> None:
        end = "installed" if installed else "not installed: nothing was changed"
        self.console.show_text(f"Certificate of {name}", "", verdict_facts(verdicts, end))
        self.console.main.say(f"{name}: certificate {end}", bad=not installed)
        self.refresh_data()


def step_facts(one: Summary, simulated: bool) -> list[Fact]:
    """The five steps of an identity: done, next, or still to come."""
    has_request, has_certificate = one.request_subject is not None, one.subject is not None
    sign = "d: the demo CA signs; " if simulated else ""
    key = f"{one.algorithm} in {one.where}, {'password' if one.auth != 'none' else 'no password'}"
    steps = (
        ("1 Key", True, key),
        ("2 Request", has_request, one.request_subject or "r: subject, names and role"),
        ("3 To the CA", has_certificate, f"{sign}v: view it; w: write a file"),
        ("4 Import", has_certificate, "i: the certificate and the trust anchors"),
        ("5 Ready", has_certificate and one.has_trust, "page 4 starts a session"),
    )
    lines = []
    next_found = False
    for label, done, text in steps:
        state = "DONE" if done else "" if next_found else "NEXT"
        next_found = next_found or not done
        lines.append(Fact(label, state, text))
    return lines


def verdict_facts(verdicts: Sequence[Verdict], end: str) -> list[Fact]:
    """The verdicts over a certificate: what speaks against it in full, the rest by name."""
    passed = [one.check for one in verdicts if one.verdict == "ok"]
    facts = [Fact("Passed", "OK", ", ".join(passed))]
    for one in verdicts:
        if one.verdict != "ok":
            facts.append(Fact(one.check, one.verdict.upper(), one.text))
            facts.append(Fact("", "", f"try: {one.remedy}"))
    return [*facts, Fact("Result", "", end)]
