"""Step 4 of the walk: a certificate from a file or pasted, its verdicts, and a yes to install."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.files import read_bounded
from tpmconsole.provision import CERTIFICATE_BYTES
from tpmconsole.tpm.passwords import Passwords
from tpmconsole.ui.dialogs.files import FilesSheet
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.dialogs.paste import PasteDialog
from tpmconsole.ui.dialogs.review import ReviewDialog
from tpmconsole.ui.passwords import Action, do
from tpmconsole.ui.screens.page import Page
from tpmconsole.ui.screens.requesting import ROLES
from tpmconsole.ui.screens.steps import COMPARE, anchor_facts, verdict_facts
from tpmconsole.ui.styled import Fact

if TYPE_CHECKING:
    from tpmconsole.identity.certificate import CertificateFacts, Judgement
    from tpmconsole.identity.summary import Summary

Taken = Callable[[bytes], None]


def ask_certificate(page: Page, title: str, taken: Taken, roots: bytes = b"") -> None:
    """Ask where a certificate comes from, and read it.

    Args:
        taken: called with what was read.
        roots: roots that came with a bundle; offered first where there are any.
    """

    def read(path: Path | None) -> None:
        if path is not None:
            page.job("reading the file", lambda: read_bounded(path, CERTIFICATE_BYTES), taken)

    def go(key: str | None) -> None:
        if key == "b":
            taken(roots)
        elif key == "f":
            page.app.push_screen(FilesSheet(title), read)
        elif key == "p":
            page.app.push_screen(PasteDialog(title), lambda data: taken(data) if data else None)

    options = [
        Option("f", "File", "removable disks first"),
        Option("p", "Paste", "the PEM, through the terminal"),
    ]
    if roots:
        options.insert(0, Option("b", "From the bundle", "the root that the CA sent along"))
    page.app.push_screen(MenuDialog(title, options), go)


def ask_trust(
    page: Page, name: str, anchors: list[CertificateFacts], yes: Callable[[], None]
) -> None:
    """Show CAs by name and fingerprint; only ``y`` trusts them."""
    if not anchors:
        page.console.main.say(f"{name} trusts all of these already")
        return
    facts = [fact for one in anchors for fact in anchor_facts(one, "NEW CA")]
    facts += [Fact(), Fact("", "", f"{COMPARE} Whoever has this CA can pose as every peer.")]
    page.app.push_screen(
        ReviewDialog(f"Trust this for {name}?", facts, [("y", "Trust"), ("n", "No")]),
        lambda key: yes() if key == "y" else None,
    )


class Importing:
    """One certificate, from where it is to where it works.

    Args:
        page: where it is asked for.
        identity: whose it is.
        changed: called with what to say when it is over.
    """

    def __init__(self, page: Page, identity: Summary, changed: Callable[[str], None]) -> None:
        self._page = page
        self._identity = identity
        self._changed = changed
        self._role = identity.role or ROLES[0]
        self._bundle = b""
        self._trust: bytes | None = None
        self._passwords = Passwords()

    def start(self) -> None:
        """Ask for the certificate."""
        ask_certificate(self._page, f"Certificate of {self._identity.name}", self._take)

    def _take(self, bundle: bytes) -> None:
        self._bundle = bundle
        self._judge()

    def _judge(self) -> None:
        """Without the key's password first: all but the proof can be said, and it costs no try."""
        self._page.job("checking the certificate", self._judged, self._show)

    def _judged(self) -> tuple[Judgement, list[CertificateFacts]]:
        from tpmconsole.identity.certificate import describe

        judgement = self._page.board.installer.judge(
            self._identity.name,
            [self._bundle],
            self._trust,
            self._role,
            self._passwords.key,
            owner_password=self._passwords.hierarchy,
        )
        return judgement, [describe(one) for one in judgement.added]

    def _show(self, found: tuple[Judgement, list[CertificateFacts]]) -> None:
        judgement, added = found
        answers = [("t", "Trust a CA"), ("o", f"Role: {self._role}")]
        if judgement.acceptable:
            answers.insert(0, ("y", "Install"))
        if any(one.check == "key-proof" and one.verdict == "warn" for one in judgement.verdicts):
            answers.append(("p", "Password"))
        end = "y installs it" if judgement.acceptable else "not installed: nothing was changed"
        self._page.app.push_screen(
            ReviewDialog(
                f"Certificate of {self._identity.name}",
                verdict_facts(judgement.verdicts, added, end),
                answers,
            ),
            lambda key: self._answered(judgement, key),
        )

    def _answered(self, judgement: Judgement, key: str | None) -> None:
        if key == "y":
            self._install(judgement)
        elif key == "t":
            self._page.job("", self._find_roots, self._ask_trust)
        elif key == "o":
            self._role = ROLES[(ROLES.index(self._role) + 1) % len(ROLES)]
            self._judge()
        elif key == "p":
            self._prove()
        else:
            name, board = self._identity.name, self._page.board
            self._page.job("", lambda: board.installer.refuse(name, judgement))
            self._changed(f"{name}: certificate not installed, nothing was changed")

    def _install(self, judgement: Judgement) -> None:
        name, board = self._identity.name, self._page.board
        self._page.job(
            "installing the certificate",
            lambda: board.installer.install(name, judgement),
            lambda _: self._changed(f"{name}: certificate installed; page 4 starts a session"),
        )

    # More trust

    def _find_roots(self) -> bytes:
        return self._page.board.installer.roots_in([self._bundle])

    def _ask_trust(self, roots: Any) -> None:
        ask_certificate(self._page, "The CA to trust", self._take_trust, roots)

    def _take_trust(self, data: bytes) -> None:
        name, board = self._identity.name, self._page.board

        def yes() -> None:
            self._trust = (self._trust or b"") + data
            self._judge()

        self._page.job(
            "reading the CA",
            lambda: board.installer.new_anchors(name, data),
            lambda anchors: ask_trust(self._page, name, anchors, yes),
        )

    # The key's proof

    def _prove(self) -> None:
        name, board = self._identity.name, self._page.board

        def work(known: Passwords) -> Any:
            self._passwords = known
            return self._judged()

        do(
            self._page,
            Action(
                "letting the key sign",
                name,
                work,
                self._show,
                lambda: board.source(board.identities.get(name)),
            ),
            "key",
        )
