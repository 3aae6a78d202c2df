"""Step 3: hand the request to its CA, by disk, screen, clipboard or camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tpmconsole.board.enrolment import (
    DISCLOSURE,
    Attested,
    attest_request,
    request_is_attested,
)
from tpmconsole.board.phrases import disks_words, size_words
from tpmconsole.board.requests import hand_over, note_handed_over, request_pem
from tpmconsole.system.disks import Disk, Disks, disks_in_time
from tpmconsole.ui.ask_auth import Action, do
from tpmconsole.ui.dialogs.menu import MenuDialog, Option
from tpmconsole.ui.dialogs.message import ConfirmDialog, ReviewDialog
from tpmconsole.ui.dialogs.qr import BAR_LINES, QrCode, QrSheet, qr_code
from tpmconsole.ui.dialogs.sheet import PemSheet
from tpmconsole.ui.pages.page import Page
from tpmconsole.ui.rows import Fact
from tpmconsole.ui.saving import Again, ask_replace, ask_where
from tpmconsole.ui.terminal import clipboard

MOST_DISKS = 5
THEN_IMPORT = "when it has sent the certificate, press Enter"


@dataclass(frozen=True, slots=True)
class Ready:
    """What the menu needs: the request, its QR code, and the disks it could be written to.

    Attributes:
        attested: whether the request can prove where its key is.
    """

    pem: str
    code: QrCode | None
    disks: Disks
    attested: bool


class Handing:
    """Offers the ways to hand over a request, again and again until Esc.

    Args:
        page: the page that shows the dialogs.
        name: the identity.
        demo: lets the simulator's CA sign it; None if there is no such CA.
    """

    def __init__(self, page: Page, name: str, demo: Callable[[], None] | None) -> None:
        self._page = page
        self._name = name
        self._demo = demo

    def start(self) -> None:
        """Read the request, look for disks, and ask."""
        self._page.job("looking for disks", self._prepare, self._ask)

    def _prepare(self) -> Ready:
        pem = request_pem(self._page.board, self._name)
        files = not self._page.board.settings.kiosk
        disks = disks_in_time() if files else Disks()
        attested = request_is_attested(self._page.board, self._name)
        text = pem.decode("ascii", "replace").strip() + "\n"
        return Ready(text, qr_code(pem), disks, attested)

    def _ask(self, ready: Ready) -> None:
        disks = {str(at + 1): disk for at, disk in enumerate(ready.disks.mounted[:MOST_DISKS])}
        ways: dict[str, Callable[[], None]] = {
            "f": lambda: self._ask_path(ready.disks),
            "s": lambda: self._show(ready),
            "c": lambda: self._copy(ready),
            "q": lambda: self._show_code(ready.code),
            "a": self._ask_attest,
        }
        if self._demo is not None:
            ways["d"] = self._demo
        options = [_disk_option(key, disk, len(ready.pem)) for key, disk in disks.items()]
        if not self._page.board.settings.kiosk:
            nothing = disks_words(ready.disks)
            where = "in a folder" + (f"; {nothing}" if nothing else "")
            options.append(Option("f", "File", where))
        options += [
            Option("s", "Screen", "the PEM, to copy it with the terminal's mouse"),
            Option("c", "Clipboard", "of your computer (OSC 52)", clipboard.too_long(ready.pem)),
            Option("q", "QR code", "for a camera", self._no_code(ready.code)),
        ]
        if not (ready.attested or self._page.board.settings.kiosk):
            options.append(Option("a", "Attest", "add what proves that the key is in this TPM"))
        if self._demo is not None:
            options.append(Option("d", "Demo CA", "the simulator's CA signs it now"))

        def go(key: str | None) -> None:
            if key in disks:
                path = disks[key].path / self._file
                self._page.console.last_folder = path.parent
                ask_replace(self._page, path, partial(self._write, path, disks[key], self.start))
            elif key is not None:
                ways[key]()

        which = "attested request" if ready.attested else "request"
        title = f"Hand the {which} of {self._name} to its CA"
        self._page.app.push_screen(MenuDialog(title, options), go)

    # With what proves where its key is

    def _ask_attest(self) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._attest()
            else:
                self.start()

        question = f"Add it to the request of {self._name}?"
        self._page.app.push_screen(ConfirmDialog("Attest", DISCLOSURE, question), answered)

    def _attest(self) -> None:
        page, name = self._page, self._name

        def done(made: Attested) -> None:
            page.refresh_data()
            page.console.say(f"{name}: attested by {made.chip}")
            self.start()

        do(page, Action("asking the TPM", name, partial(attest_request, page.board, name), done))

    # By file

    @property
    def _file(self) -> str:
        return f"{self._name}.csr"

    def _ask_path(self, disks: Disks) -> None:
        def write(path: Path, again: Again) -> None:
            on = (one for one in disks.mounted if path.is_relative_to(one.path))
            self._write(path, next(on, None), again)

        ask_where(self._page, f"Write the request of {self._name}", self._file, write)

    def _write(self, path: Path, disk: Disk | None, again: Again) -> None:
        self._page.job(
            "writing the request",
            lambda: hand_over(self._page.board, self._name, path, disk),
            lambda _: self._written(path, disk),
            lambda error: self._page.console.show_error(error, again),
        )

    def _written(self, path: Path, disk: Disk | None) -> None:
        take = f"unmount it (umount {disk.path}), and take the disk" if disk else "take the file"
        facts = [
            Fact("Written", "DONE", f"{path}, and synced: all of it is on the disk"),
            Fact("Next", "NEXT", f"{take} to your CA; {THEN_IMPORT}"),
        ]
        self._page.console.say(f"{path} written: hand it to your CA")
        self._page.refresh_data()
        self._page.app.push_screen(ReviewDialog("Request written", facts, [("enter", "Close")]))

    # By the terminal

    def _show(self, ready: Ready) -> None:
        then = f"Copy every line to your CA; {THEN_IMPORT}."
        sheet = PemSheet(f"Request of {self._name}", ready.pem, then)
        self._page.app.push_screen(sheet, lambda _: self._handed("shown on the screen"))

    def _copy(self, ready: Ready) -> None:
        clipboard.copy(self._page.app, ready.pem)
        facts = [
            Fact("Sent", "DONE", f"{size_words(len(ready.pem))} to your terminal's clipboard"),
            Fact("Next", "NEXT", f"paste it where your CA takes requests; {THEN_IMPORT}"),
            Fact(
                "If nothing",
                "",
                "came: your terminal does not support OSC 52, or minicom, screen or tmux is "
                "between; h, then s shows the request instead",
            ),
        ]
        review = ReviewDialog("Copied", facts, [("enter", "Close")])
        self._page.app.push_screen(review, lambda _: self._handed("copied to the clipboard"))

    def _show_code(self, code: QrCode | None) -> None:
        if code is not None:
            title = f"Scan it, and send the text to your CA; {THEN_IMPORT}."
            sheet = QrSheet(title, code, blocks=self._blocks)
            self._page.app.push_screen(sheet, lambda _: self._handed("shown as a QR code"))

    def _handed(self, where: str) -> None:
        """Remember it; a visitor changes nothing."""
        board, name = self._page.board, self._name
        if not board.settings.kiosk:
            self._page.job(
                "",
                lambda: note_handed_over(board, name, where),
                lambda _: self._page.refresh_data(),
            )

    @property
    def _blocks(self) -> bool:
        return self._page.app.has_class("unicode")

    def _no_code(self, code: QrCode | None) -> str:
        """Why it cannot be shown; empty if it can."""
        if code is None:
            return "the request is longer than any QR code"
        size = self._page.app.size
        columns, lines = code.cells(blocks=self._blocks)
        lines += BAR_LINES
        if columns <= size.width and lines <= size.height:
            return ""
        return f"it needs {columns}x{lines}, the terminal has {size.width}x{size.height}"


def _disk_option(key: str, disk: Disk, size: int) -> Option:
    about = f"{size_words(disk.free)} free, {disk.device} {disk.kind} {disk.model}".rstrip()
    problem = "" if disk.writable else f"{disk.path} is read-only"
    if disk.writable and disk.free < size:
        problem = f"{disk.path} is full"
    return Option(key, str(disk.path), about, problem)
