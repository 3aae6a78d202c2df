"""Step 4: a certificate from a file or pasted, its checks, and the confirmation to install."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.board.certificates import (
    install_certificate,
    judge_certificate,
    refuse_certificate,
)
from tpmconsole.board.enrolment import is_sealed, opened_before
from tpmconsole.board.trust import certificates_pem, new_anchors, roots_in
from tpmconsole.errors import ConsoleError
from tpmconsole.inputs import CERTIFICATE_BYTES
from tpmconsole.system.files import read_bounded
from tpmconsole.tpm.auth import Auth
from tpmconsole.ui.ask_auth import NOTHING_KNOWN, Action, do
from tpmconsole.ui.dialogs.files import FilesSheet
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.dialogs.message import ErrorDialog, ReviewDialog
from tpmconsole.ui.dialogs.paste import PasteDialog
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.pages.provision.outdated import tell_outdated
from tpmconsole.ui.pages.provision.request import ROLES
from tpmconsole.ui.pages.provision.steps import COMPARE, anchor_facts, verdict_facts
from tpmconsole.ui.rows import Fact

if TYPE_CHECKING:
    from tpmconsole.identity.summary import Summary
    from tpmconsole.x509.judge import CertificateInfo, Judgement

Taken = Callable[[bytes], None]
Back = Callable[[], None]


def _nowhere() -> None:
    """Nothing to do: the dialog has closed, and the page is shown again."""


def ask_certificate(
    page: Page, title: str, taken: Taken, *, roots: bytes = b"", back: Back = _nowhere
) -> None:
    """Ask where a certificate comes from, and read it.

    Args:
        taken: called with what was read.
        roots: roots that came with a bundle; offered first if there are any.
        back: called if nothing was read.
    """

    def choose(typed: str = "") -> None:
        page.app.push_screen(FilesSheet(title, typed), read)

    def read(path: Path | None) -> None:
        if path is None:
            back()
            return
        page.job(
            "reading the file",
            lambda: read_bounded(path, CERTIFICATE_BYTES),
            taken,
            lambda error: page.console.show_error(error, partial(choose, str(path))),
        )

    def pasted(data: bytes | None) -> None:
        if data is None:
            back()
        else:
            taken(data)

    def go(key: str | None) -> None:
        if key == "b":
            taken(roots)
        elif key == "f":
            choose()
        elif key == "p":
            page.app.push_screen(PasteDialog(title), pasted)
        else:
            back()

    options = [
        Option("f", "File", str(page.console.last_folder or "removable disks first")),
        Option("p", "Paste", "paste the PEM into the terminal"),
    ]
    if roots:
        options.insert(0, Option("b", "From the bundle", "the root that the CA sent with it"))
    page.app.push_screen(MenuDialog(title, options), go)


def ask_trust(page: Page, name: str, data: bytes, yes: Taken, back: Back = _nowhere) -> None:
    """Show the CAs in a file by name and fingerprint; only ``y`` trusts them.

    Args:
        yes: called with them as PEM.
        back: called if the user does not trust them.
    """

    def read() -> tuple[list[CertificateInfo], bytes]:
        return new_anchors(page.board, name, data), certificates_pem(data)

    def show(anchors: list[CertificateInfo], pem: bytes) -> None:
        if not anchors:
            page.console.say(f"{name} trusts all of these already")
            back()
            return
        facts = [fact for one in anchors for fact in anchor_facts(one, new=True)]
        danger = " Anyone who controls this CA can impersonate any peer." * any(
            one.ca for one in anchors
        )
        facts += [Fact(), Fact("", "", f"{COMPARE}{danger}")]
        page.app.push_screen(
            ReviewDialog(f"Trust this for {name}?", facts, [("y", "Trust"), ("n", "No")]),
            lambda key: yes(pem) if key == "y" else back(),
        )

    def failed(error: ConsoleError) -> None:
        page.app.push_screen(ErrorDialog(error), lambda _: back())

    page.job("reading the CA", read, lambda found: show(*found), failed)


class Importing:
    """The import of one certificate.

    Args:
        page: the page that shows the dialogs.
        identity: the identity that gets the certificate.
        changed: called at the end with a message to show.
    """

    def __init__(self, page: Page, identity: Summary, changed: Callable[[str], None]) -> None:
        self._page = page
        self._identity = identity
        self._changed = changed
        self._role = identity.role or ROLES[0]
        self._bundles: list[bytes] = []
        self._trust = b""
        self._auth = NOTHING_KNOWN

    def start(self) -> None:
        """Ask for the certificate."""
        ask_certificate(self._page, f"Certificate of {self._identity.name}", self._add)

    def _add(self, bundle: bytes, back: Back = _nowhere) -> None:
        """Continue with what was read if it contains a certificate."""

        def read() -> None:
            if not is_sealed(bundle):  # what is in a sealed file, only the TPM tells
                certificates_pem(bundle)

        def good(_: None) -> None:
            self._bundles.append(bundle)
            self._judge()

        def failed(error: ConsoleError) -> None:
            self._page.app.push_screen(ErrorDialog(error), lambda _: back())

        self._page.job("", read, good, failed)

    def _judge(self) -> None:
        """Check first without the key's password, which costs no attempt: all but the key test."""
        self._do("checking the certificate")

    def _judged(self, auth: Auth) -> tuple[Judgement, list[CertificateInfo]]:
        from tpmconsole.x509.judge import describe

        judgement = judge_certificate(
            self._page.board,
            self._identity.name,
            self._bundles,
            self._trust or None,
            self._role,
            auth,
        )
        return judgement, [describe(one) for one in judgement.added]

    def _show(self, found: tuple[Judgement, list[CertificateInfo]]) -> None:
        judgement, added = found
        answers = [("t", "Trust"), ("a", "Add"), ("o", f"Role: {self._role}")]
        if judgement.acceptable:
            answers.insert(0, ("y", "Install"))
        if any(one.name == "key-proof" and one.state == "warn" for one in judgement.verdicts):
            answers.append(("p", "Password"))
        end = "y installs it" if judgement.acceptable else "not installed: nothing was changed"
        if judgement.unknown_ca:
            end = "good, but its CA is not trusted: not installed yet"
        self._page.app.push_screen(
            ReviewDialog(
                f"Certificate of {self._identity.name}",
                verdict_facts(judgement, added, end),
                answers,
            ),
            lambda key: self._answered(found, key),
        )

    def _answered(self, found: tuple[Judgement, list[CertificateInfo]], key: str | None) -> None:
        def back() -> None:
            self._show(found)

        if key == "y":
            self._install(found[0])
        elif key == "t":
            self._ask_trust(found[0], back)
        elif key == "a":
            ask_certificate(
                self._page,
                "Another one of its chain",
                lambda data: self._add(data, back),
                back=back,
            )
        elif key == "o":
            self._role = ROLES[(ROLES.index(self._role) + 1) % len(ROLES)]
            self._judge()
        elif key == "p":
            self._prove()
        else:
            self._refuse(found[0])

    def _install(self, judgement: Judgement) -> None:
        name, board = self._identity.name, self._page.board

        def installed(_: Any) -> None:
            self._changed(f"{name}: certificate installed; Enter: start a session")
            tell_outdated(self._page, name)

        self._page.job(
            "installing the certificate",
            lambda: install_certificate(board, name, judgement),
            installed,
        )

    def _refuse(self, judgement: Judgement) -> None:
        name, board = self._identity.name, self._page.board
        self._page.job("", lambda: refuse_certificate(board, name, judgement))
        self._changed(f"{name}: certificate not installed, nothing was changed")

    def _ask_trust(self, judgement: Judgement, back: Back) -> None:
        page, name = self._page, self._identity.name

        def yes(pem: bytes) -> None:
            self._trust += pem
            self._judge()

        def taken(data: bytes) -> None:
            ask_trust(page, name, data, yes, back)

        def ask(roots: bytes) -> None:
            if roots and judgement.unknown_ca:  # it came along, and only has to be compared
                taken(roots)
            else:
                ask_certificate(page, "The CA to trust", taken, roots=roots, back=back)

        def roots() -> bytes:
            return roots_in([opened_before(page.board, one) for one in self._bundles])

        page.job("", roots, ask)

    def _prove(self) -> None:
        self._do("letting the key sign", "key")

    def _do(self, label: str, ask_first: str | None = None) -> None:
        """Check it with what is known so far; keep the answers that the user gives meanwhile."""
        name, board = self._identity.name, self._page.board

        def work(known: Auth) -> Any:
            self._auth = known
            return self._judged(known)

        action = Action(
            label, name, work, self._show, lambda: board.source(board.identities.get(name))
        )
        do(self._page, action, ask_first, self._auth)
