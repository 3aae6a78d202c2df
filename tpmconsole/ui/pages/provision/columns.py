"""The columns of the Provision page, and the texts about an identity that can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tpmconsole.tpm.model import algorithm_words
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.widgets.table import WIDE, Column

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.identity.summary import Summary

COLUMNS = (
    Column("IDENTITY", 22, 40),
    Column("KEY", 10),
    Column("STATE", 10),
    Column("CERTIFICATE", 30, 40),
    Column("ROLE", 6, since=WIDE),
    Column("SUBJECT", 14, 40, since=WIDE),
    Column("ISSUER", 14, 40, since=WIDE),
)


def row(one: Summary) -> tuple[str, ...]:
    """The texts of a row."""
    return (
        one.name,
        algorithm_words(one.algorithm),
        one.state,
        one.detail,
        one.role or "-",
        one.subject or one.request_subject or "-",
        one.issuer or "-",
    )


def copies(board: Board, one: Summary) -> Sequence[Copy]:
    """Its folder, and what it has of a certificate."""
    texts = (
        ("folder", str(board.settings.identities / one.name)),
        ("subject", one.subject or one.request_subject),
        ("SHA-256", one.fingerprint),
        ("certificate", one.certificate),
        ("error", one.detail if one.state == "ERROR" else None),
    )
    return [Copy(what, text) for what, text in texts if text]
