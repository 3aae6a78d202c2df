"""Describe a key: its row in the table, the detail pane, and everything about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.board.dependents import fingerprint
from tpmconsole.board.parents import way_out
from tpmconsole.board.phrases import PROTECTION_OFF, USABLE, auth_word, guard_words, mode_words
from tpmconsole.text import printable
from tpmconsole.tpm.model import KeyCheck, KeyFile, KeyKind, Lockout
from tpmconsole.ui.next_steps import say
from tpmconsole.ui.rows import Fact

if TYPE_CHECKING:
    from tpmconsole.tpm.model import PersistentKey

    Key = KeyFile | PersistentKey

COLUMNS = (("WHERE", 29), ("ALGORITHM", 9), ("PASSWORD", 8), ("IDENTITY", 15), ("USABLE", 9))
_NOT_ASKED = "not checked yet: u asks the TPM"


def place(key: Key) -> str:
    """A key's place: its path or its handle."""
    return key.path if isinstance(key, KeyFile) else key.handle


def title(key: Key) -> str:
    """A key's name for people."""
    return key.identity or printable(Path(place(key)).name)


def row(key: Key, answer: KeyCheck | None, folder: Path) -> list[str]:
    """A key in the table; ``folder`` is left out of its path."""
    return [
        printable(place(key).removeprefix(f"{folder}/")),
        key.algorithm or "-",
        auth_word(key.auth),
        key.identity or "-",
        usable_word(key, answer),
    ]


def is_key(key: Key) -> bool:
    """Whether it is a key at all: a file or a handle may hold something else, or be damaged."""
    if isinstance(key, KeyFile):
        return key.kind in (KeyKind.LOADABLE, KeyKind.IMPORTABLE)
    return key.readable


def usable_word(key: Key, answer: KeyCheck | None) -> str:
    """The answer as a word; ``?`` if the key was not checked."""
    if not is_key(key):
        return "NO"
    return "?" if answer is None else USABLE.get(answer.answer, "NO")


def answer_words(answer: KeyCheck) -> str:
    """What the TPM answered for a key, and what helps."""
    step = way_out(answer)
    return f"{answer.reason}; {say(step)}" if step else answer.reason


def facts(
    key: Key, answer: KeyCheck | None, lockout: Lockout | None, *, kiosk: bool = False
) -> list[Fact]:
    """The detail pane; it does not mention keys that visitors cannot use.

    Args:
        lockout: the TPM's protection now; None if it is not known.
    """
    not_asked = "not checked yet" if kiosk else _NOT_ASKED
    reason = answer_words(answer) if answer else not_asked
    lines = []
    if isinstance(key, KeyFile):
        reason = key.reason or reason
        parent = f", parent {key.parent}" if key.parent else ""
        lines = [Fact("Kind", "", f"{_algorithm(key)}{key.kind.value}{parent}{_origin(key)}")]
    else:
        reason = reason if key.readable else key.reason or key.purpose
        lines = [Fact("Purpose", "", f"{_algorithm(key)}{key.purpose}{_origin(key)}")]
    lines += [
        Fact("Attributes", "", ", ".join(key.attributes) or "-"),
        Fact("Lock-out", "", _guard(key, lockout)),
        Fact("Usable", usable_word(key, answer), reason),
    ]
    if isinstance(key, KeyFile) and (open_to_others := mode_words(key.mode)):
        by_key = "" if kiosk else " (m does it)"
        lines.append(Fact("File", "WARN", f"{open_to_others}{by_key}"))
    return lines


def _algorithm(key: Key) -> str:
    return f"{key.algorithm}, " if key.algorithm else ""


def _origin(key: Key) -> str:
    return ", IMPORTED: existed outside the TPM" if key.origin == "imported" else ""


def _guard(key: Key, lockout: Lockout | None) -> str:
    """Whether a wrong password counts, and why."""
    counts = key.counts_towards_lockout
    if key.auth in ("none", "password") and counts is not None:
        return guard_words(password=key.auth == "password", noda=not counts, lockout=lockout)
    if counts and lockout is not None and lockout.off:
        return PROTECTION_OFF
    return {
        True: "wrong passwords count, if the key has a password",
        False: "wrong passwords do not count",
        None: "unknown",
    }[counts]


def all_facts(
    key: Key, answer: KeyCheck | None, used_by: Sequence[str], lockout: Lockout | None
) -> list[Fact]:
    """Everything about a key except its public key in PEM; arguments as in ``facts``."""
    mode = f", mode {key.mode}" if isinstance(key, KeyFile) and key.mode else ""
    # The folder of the identities is left out: each line costs bytes.
    ours = isinstance(key, KeyFile) and key.identity
    where = f"identities/{key.identity}/key.pem" if ours else printable(place(key))
    lines = [Fact("Where", "", where + mode)]
    lines += [one for one in facts(key, answer, lockout) if one.text != _NOT_ASKED]
    if isinstance(key, KeyFile):
        lines += [Fact("Policy", "", printable("; ".join(key.policy)))] if key.policy else []
        described = printable(key.description) if key.description else ""
        lines += [Fact("Description", "", described)] if described else []
        lines += [Fact("Remark", "WARN", printable(one)) for one in key.remarks]
    else:
        lines += [Fact("Name", "", key.name)] if key.name else []
    users = [printable(one) for one in used_by] or ["nothing known"]
    lines += [Fact("Used by" if number == 0 else "", "", one) for number, one in enumerate(users)]
    if key.public_pem:
        lines.append(Fact("SHA-256", "", fingerprint(key.public_pem)))
    return lines
