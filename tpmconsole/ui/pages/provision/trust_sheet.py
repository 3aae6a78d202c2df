"""The list of the trust anchors of an identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from textual import events
from textual.app import ComposeResult

from tpmconsole.clock import moment
from tpmconsole.ui.copying import Copy
from tpmconsole.ui.dialogs.sheet import Sheet
from tpmconsole.ui.pages.provision.steps import anchor_facts
from tpmconsole.ui.rows import Fact
from tpmconsole.ui.widgets.details import DetailPane
from tpmconsole.ui.widgets.list_table import ListTable
from tpmconsole.ui.widgets.table import Column, Table

if TYPE_CHECKING:
    from tpmconsole.x509.judge import CertificateInfo

COLUMNS = (Column("CA", 38, 60), Column("UNTIL", 16, 20), Column("SHA-256", 20, 64, digest=True))


class TrustAction(NamedTuple):
    """What to do.

    Attributes:
        key: ``a`` for adding an anchor, ``x`` for removing one.
        anchor: the anchor to remove.
    """

    key: str
    anchor: CertificateInfo | None = None


class TrustSheet(Sheet[TrustAction]):
    """The anchors, and below them everything to compare for the one under the cursor."""

    def __init__(self, name: str, anchors: Sequence[CertificateInfo]) -> None:
        super().__init__(f"{name} trusts")
        self._anchors = anchors

    def keys(self) -> tuple[tuple[str, str], ...]:
        if not self._anchors:
            return (("a", "Add"), ("escape", "Back"))
        lists = (("slash", "Filter"), ("s", "Sort")) if len(self._anchors) > 1 else ()
        return (("a", "Add"), ("x", "Remove"), *lists, ("escape", "Back"))

    def copies(self) -> Sequence[Copy]:
        anchor = self._table.item if self.is_mounted else None
        if anchor is None:
            return ()
        return (Copy("SHA-256", anchor.fingerprint), Copy("subject", anchor.subject))

    def body(self) -> ComposeResult:
        yield ListTable(COLUMNS, -1, _row, lambda anchor: anchor.fingerprint)
        yield DetailPane()

    @property
    def _table(self) -> ListTable[CertificateInfo]:
        return self.query_one(ListTable)

    def on_mount(self) -> None:
        self._table.focus()
        self._table.replace(self._anchors)
        self._present()

    def on_table_moved(self, event: Table.Moved) -> None:
        event.stop()
        self._present()

    def on_list_table_arranged(self, event: ListTable.Arranged) -> None:
        event.stop()
        self._present()

    def _present(self) -> None:
        anchor, pane = self._table.item, self.query_one(DetailPane)
        facts: Sequence[Fact] = []
        if anchor is not None:
            facts = anchor_facts(anchor)
        elif not self._anchors:
            facts = [
                Fact("Trust", "NONE", "no peer is trusted: press a to add the CA of the peers")
            ]
        pane.present(facts)
        pane.place(self._table.title())

    def pressed(self, event: events.Key) -> None:
        if event.key == "a":
            event.stop()
            self.dismiss(TrustAction("a"))
        elif event.key == "x" and self._table.item is not None:
            event.stop()
            self.dismiss(TrustAction("x", self._table.item))


def _row(anchor: CertificateInfo) -> tuple[str, ...]:
    return anchor.subject, moment(anchor.not_after), anchor.fingerprint
