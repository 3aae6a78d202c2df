"""Page 2: key files and persistent handles, and whether this TPM can use them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.widget import Widget

from tpmconsole.files import read_bounded
from tpmconsole.keyring import KEY_BYTES, KeyList
from tpmconsole.text import printable
from tpmconsole.tpm.model import KeyFile, KeySource, PersistentKey, Usability
from tpmconsole.ui.commands import Command
from tpmconsole.ui.passwords import Action, do
from tpmconsole.ui.screens.forms import ask_create, ask_import
from tpmconsole.ui.screens.handles import ask_evict, ask_persist
from tpmconsole.ui.screens.page import Page
from tpmconsole.ui.styled import Fact
from tpmconsole.ui.widgets.facts import Facts
from tpmconsole.ui.widgets.table import Table
from tpmconsole.words import auth_word

if TYPE_CHECKING:
    Key = KeyFile | PersistentKey

COLUMNS = (("WHERE", 30), ("ALGORITHM", 10), ("PASSWORD", 8), ("IDENTITY", 16), ("USABLE", 9))


class KeysPage(Page):
    """One table for both kinds of key, and a detail pane."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._keys: list[Key] = []
        self._answers: dict[str, Usability] = {}

    def compose(self) -> ComposeResult:
        yield Table(COLUMNS, state_column=4)
        yield Facts(classes="detail")

    def commands(self) -> tuple[Command, ...]:
        chosen = self._chosen
        return (
            Command("c", "Create", "make a key in the TPM, as a new identity", self._create),
            Command(
                "u",
                "Usable?",
                "let this TPM sign with the key, and verify",
                self._prove,
                lambda: chosen() is not None and self._idle(),
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
                "remove a persistent key from the TPM, for good",
                self._evict,
                lambda: isinstance(chosen(), PersistentKey),
            ),
            Command(
                "i",
                "Import",
                "wrap a private key that was made elsewhere into the TPM",
                self._import,
            ),
            Command("enter", "Details", "everything about the key", self._details, kiosk=True),
            Command("r", "Refresh", "read the list again", self.refresh_data, kiosk=True),
        )

    def focus_target(self) -> Widget:
        return self._table

    def _changed(self, message: str) -> None:
        self._answers.clear()  # what stood at a handle may be another key by now
        self.console.main.say(message)
        self.refresh_data()

    def refresh_data(self) -> None:
        self.job("reading the keys", self.board.keyring.list, self._listed)
        self.console.refresh_health(silent=True)  # how many tries are left is told before asking

    @property
    def _table(self) -> Table:
        return self.query_one(Table)

    def _idle(self) -> bool:
        return self.console.jobs.visible is None

    def _chosen(self) -> Key | None:
        row = self._table.chosen
        return None if row is None else self._keys[row]

    # The list

    def _listed(self, keys: Any) -> None:
        assert isinstance(keys, KeyList)  # noqa: S101
        self._keys = [*keys.files, *keys.persistent]
        if keys.no_tpm:
            self.console.main.say(f"persistent handles not listed: {keys.no_tpm}", bad=True)
        self._present()

    def _present(self) -> None:
        self._table.present([self._row(key) for key in self._keys])
        self._show_detail()
        self.console.main.show_keys()

    def _row(self, key: Key) -> list[str]:
        return [
            printable(_where(key, self.board.settings.identities))[-COLUMNS[0][1] :],
            key.algorithm or "-",
            auth_word(key.auth),
            key.identity or "-",
            self._usable_word(key),
        ]

    def _usable_word(self, key: Key) -> str:
        if isinstance(key, KeyFile) and key.kind.value != "loadable":
            return "NO"
        answer = self._answers.get(_place(key))
        return "?" if answer is None else "YES" if answer.usable else "NO"

    def on_data_table_row_highlighted(self) -> None:
        self._show_detail()
        self.console.main.show_keys()

    def _show_detail(self) -> None:
        key = self._chosen()
        facts = [Fact("", "NONE", "c makes the first key")] if key is None else self._facts(key)
        self.query_one(Facts).present(facts)

    def _facts(self, key: Key) -> list[Fact]:
        answer = self._answers.get(_place(key))
        reason = answer.reason if answer else "not asked yet: u lets the TPM sign with it"
        if isinstance(key, KeyFile):
            reason = key.reason or reason
            parent = f"{key.kind.value}, parent {key.parent or '?'}"
            lines = [Fact("Kind", "", parent)]
        else:
            lines = [Fact("Purpose", "", key.purpose)]
        guard = {True: "counts towards lock-out", False: "does not count", None: "unknown"}
        lines += [
            Fact("Attributes", "", ", ".join(key.attributes) or "-"),
            Fact("Wrong try", "", guard[key.counts_towards_lockout]),
            Fact("Usable", self._usable_word(key), reason),
        ]
        return lines

    def _details(self) -> None:
        key = self._chosen()
        if key is None:
            return
        facts = [Fact("Where", "", printable(_place(key))), *self._facts(key)]
        if isinstance(key, PersistentKey):
            facts.append(Fact("Name", "", key.name))
        self.console.show_text(key.identity or _place(key), key.public_pem or "", facts)

    # What the keys do

    def _create(self) -> None:
        ask_create(self, lambda identity: self._changed(f"{identity.name}: key made in the TPM"))

    def _prove(self) -> None:
        key = self._chosen()
        if key is None:
            return
        action = Action(
            "letting the TPM sign",
            key.identity or _place(key),
            lambda passwords: self.board.keyring.prove(key, passwords),
            lambda answer: self._answered(key, answer),
            source=lambda: _source(key),
        )
        do(self, action, ask_first="key" if _asks_first(key) else None)

    def _answered(self, key: Key, answer: Usability) -> None:
        self._answers[_place(key)] = answer
        self.console.refresh_health()  # a wrong password has cost a try
        self.console.main.say(
            f"{key.identity or _place(key)}: {answer.reason}", bad=not answer.usable
        )
        self._present()

    def _import(self) -> None:
        ask_import(self, lambda identity: self._changed(f"{identity.name}: key imported"))

    def _persist(self) -> None:
        key = self._chosen()
        if key is not None and key.identity is not None:
            ask_persist(self, key.identity, self._changed)

    def _evict(self) -> None:
        key = self._chosen()
        if isinstance(key, PersistentKey):
            ask_evict(self, key, self._changed)


def _place(key: Key) -> str:
    return key.path if isinstance(key, KeyFile) else key.handle


def _where(key: Key, identities: Path) -> str:
    """The place, short: the identities' folder goes without saying."""
    return _place(key).removeprefix(f"{identities}/")


def _asks_first(key: Key) -> bool:
    """Whether a password is asked for before the TPM has said that it wants one.

    A key in the TPM does not tell; where wrong tries count, an empty one is no harmless way to
    find out.
    """
    unknown = key.auth is None and isinstance(key, PersistentKey)
    return key.auth == "password" or (unknown and key.counts_towards_lockout is True)


def _source(key: Key) -> KeySource:
    if isinstance(key, PersistentKey):
        return KeySource(handle=int(key.handle, 16))
    return KeySource(pem=read_bounded(Path(key.path), KEY_BYTES))
