"""Page 2: key files and persistent handles, and whether this TPM can use them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.board.dependents import users
from tpmconsole.board.keys import make_private
from tpmconsole.board.phrases import mode_words
from tpmconsole.tpm.model import KeyCheck, KeyFile, PersistentKey
from tpmconsole.ui.command import Command
from tpmconsole.ui.dialogs.files import FilesSheet
from tpmconsole.ui.pages.keys.actions import ask_evict, ask_persist
from tpmconsole.ui.pages.keys.check import TryingAll, try_one
from tpmconsole.ui.pages.keys.details import all_facts, answer_words, is_key, place, title
from tpmconsole.ui.pages.keys.forms import ask_adopt, ask_create, ask_import
from tpmconsole.ui.pages.keys.list import KeyListPage

if TYPE_CHECKING:
    from tpmconsole.identity.identity import Identity

    Key = KeyFile | PersistentKey


class KeysPage(KeyListPage):
    """What can be done with the keys of the list."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._trying: TryingAll | None = None

    def commands(self) -> tuple[Command, ...]:
        chosen, idle = self.chosen, self._idle
        return (
            Command("escape", "Stop", "stop checking keys", self._stop, self._is_trying),
            Command("c", "Create", "make a key in the TPM, as a new identity", self._create),
            Command(
                "u",
                "Usable?",
                "let this TPM sign with the key, and verify it",
                self._try,
                lambda: chosen() is not None and idle(),
            ),
            Command("enter", "Details", "everything about the key", self._details, kiosk=True),
            Command(
                "a",
                "Check all",
                "let this TPM sign with every key shown; Esc stops it",
                self._try_all,
                lambda: bool(self._table.view.shown) and idle(),
            ),
            Command(
                "p",
                "Persist",
                "move an identity's key into the TPM, to a persistent handle",
                self._persist,
                lambda: isinstance(key := chosen(), KeyFile) and key.identity is not None,
            ),
            Command(
                "e",
                "Evict",
                "remove a persistent key from the TPM permanently",
                self._evict,
                lambda: isinstance(chosen(), PersistentKey),
            ),
            Command(
                "m",
                "Private",
                "let only you read the key file (chmod 600)",
                self._make_private,
                self._is_open_to_others,
            ),
            Command(
                "i",
                "Import",
                "wrap a private key made elsewhere into the TPM",
                self._import,
            ),
            Command(
                "d",
                "Adopt",
                "make an identity of an existing key: another tool's file, or at a handle",
                self._adopt,
                self._is_to_adopt,
            ),
            Command("o", "Open", "list the key files of another folder", self._open),
            Command(
                "f",
                "Sub-folders",
                "list the key files of the folder's sub-folders, too, or no longer",
                self._turn_deep,
                lambda: self.deep or self.sub_folders > 0,
            ),
            Command("r", "Refresh", "read the list again", self.refresh_data, kiosk=True),
        )

    def _changed(self, message: str, identity: str = "") -> None:
        self.going_to = identity
        self.answers.clear()  # another key may be at a handle by now
        self.console.say(message)
        self.refresh_data()

    # What the keys do

    def _create(self) -> None:
        ask_create(self, partial(self._made, "key made in the TPM"))

    def _made(self, words: str, identity: Identity) -> None:
        self._changed(f"{identity.name}: {words}", identity.name)

    def _import(self) -> None:
        ask_import(self, partial(self._made, "key imported"))

    def _is_to_adopt(self) -> bool:
        key = self.chosen()
        return key is not None and key.identity is None and is_key(key)

    def _adopt(self) -> None:
        key = self.chosen()
        if key is not None:
            ask_adopt(self, key, self.persistent, partial(self._made, "key adopted"))

    def _try(self) -> None:
        key = self.chosen()
        if key is not None:
            try_one(self, key, self.persistent, self._one_answered)

    def _one_answered(self, key: Key, answer: KeyCheck) -> None:
        self.console.refresh_health(silent=True)  # a wrong password has used up an attempt
        self.console.say(f"{title(key)}: {answer_words(answer)}", bad=not answer.usable)
        self.answered(key, answer)

    def _idle(self) -> bool:
        return self.console.jobs.visible is None

    def _is_trying(self) -> bool:
        return self._trying is not None and self._trying.running

    def _try_all(self) -> None:
        keys = list(self._table.view.shown)
        self._trying = TryingAll(self, keys, self.persistent, self.answered, self._tried_all)
        self._trying.start()

    def _tried_all(self, count: int) -> None:
        usable = sum(answer.usable for answer in self.answers.values())
        self.console.say(f"{count} keys checked; known as usable: {usable}")
        self.console.refresh_health(silent=True)

    def _stop(self) -> None:
        if self._trying is not None:
            self._trying.stop()

    def _persist(self) -> None:
        key = self.chosen()
        if key is not None and key.identity is not None:
            name = key.identity
            ask_persist(self, name, self.persistent, lambda done: self._changed(done, name))

    def _evict(self) -> None:
        key = self.chosen()
        if isinstance(key, PersistentKey):
            ask_evict(self, key, self._changed)

    def _is_open_to_others(self) -> bool:
        key = self.chosen()
        return isinstance(key, KeyFile) and mode_words(key.mode) is not None

    def _make_private(self) -> None:
        key = self.chosen()
        if isinstance(key, KeyFile):
            self.job(
                "changing the file's mode",
                lambda: make_private(self.board, key),
                lambda _: self._changed(f"only its owner can read {title(key)} now"),
            )

    def _details(self) -> None:
        key = self.chosen()
        if key is not None:
            self.job(
                "",
                lambda: users(self.board, key),
                lambda used_by: self.console.show_text(
                    title(key),
                    key.public_pem or "",
                    all_facts(key, self.answers.get(place(key)), used_by, self.lockout),
                ),
            )

    def _turn_deep(self) -> None:
        self.deep = not self.deep
        self.refresh_data()

    def _open(self) -> None:
        identities = self.board.settings.identities

        def go(path: Path | None) -> None:
            if path is not None:
                self.folder = path if path != identities else None
                self.deep, self.sub_folders = False, 0
                self.present([])
                self.refresh_data()

        sheet = FilesSheet("List the keys of a folder", folders={identities: "the identities"})
        self.app.push_screen(sheet, go)
