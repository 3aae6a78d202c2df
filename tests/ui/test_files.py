"""Choosing a file: the folder shown first."""

from __future__ import annotations

from tpmconsole.system.disks import Disks
from tpmconsole.ui.dialogs.files import place_rows


def test_a_user_without_a_home_begins_elsewhere(homeless: None) -> None:
    assert [row.name for row in place_rows(Disks())][1:] == ["/tmp/", "/"]
