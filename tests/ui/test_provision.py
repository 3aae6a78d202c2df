"""Page 3 on a real simulated TPM, with a CA made by openssl: every path and its return."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.authority import Authority
from support.technician import Technician, console
from textual import events

from tpmconsole.board.certificates import install_certificate, judge_certificate
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import last_spec, make_request
from tpmconsole.board.trust import add_anchors
from tpmconsole.identity.summary import Summary
from tpmconsole.settings import Settings
from tpmconsole.system.disks import Disk, Disks
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.dialogs import files
from tpmconsole.ui.dialogs.form import FormDialog
from tpmconsole.ui.pages.provision import hand_over
from tpmconsole.ui.pages.provision.steps import step_facts
from tpmconsole.ui.widgets.table import Table
from tpmconsole.x509.request_spec import RequestSpec

Make = Callable[..., Settings]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "one")


async def _requested(technician: Technician, name: str, **spec: Any) -> Path:
    """An identity with a request, on the screen; the request's file."""
    board = technician.app.board
    await technician.idle()
    password = spec.pop("password", None)
    await asyncio.to_thread(create_key, board, name, Algorithm.EC_P256, Auth(password))
    wanted = RequestSpec(f"CN={name}", **spec)
    await asyncio.to_thread(make_request, board, name, wanted, Auth(password))
    await technician.press("1", "3")
    await technician.sees(name)
    await technician.idle()
    table = technician.app.main.page.query_one(Table)
    table.move_cursor(row=board.identities.names().index(name))
    await technician.sees(f"2 Request   DONE       CN={name}")
    return board.identities.get(name).request


async def _paste(technician: Technician, text: str) -> None:
    """Choose to paste, and paste."""
    await technician.sees("into the terminal")
    await technician.press("p")
    await technician.sees("Paste it now")
    technician.app.screen.post_message(events.Paste(text))
    await technician.sees("complete block")
    await technician.press("ctrl+d")


def _actions(technician: Technician) -> list[tuple[str, str]]:
    lines = technician.app.board.settings.audit.read_text().splitlines()
    return [(one["action"], one["result"]) for one in map(json.loads, lines)]


async def test_a_certificate_is_pasted_judged_and_installed_after_two_yeses(
    settings: Make, authority: Authority
) -> None:
    async with console(settings(simulate=True)) as technician:
        request = await _requested(technician, "pump")
        identity = technician.app.board.identities.get("pump")
        bundle = authority.sign(request).read_text() + authority.root.read_text()

        await technician.press("i")
        await _paste(technician, bundle)
        await technician.sees("CN=CA is not trusted here yet")
        assert "FAIL" not in technician.screen()
        assert "Install" not in technician.screen()
        await technician.press("y")  # means nothing here
        await technician.press("a")
        await _paste(technician, "-----BEGIN X-----\n-----END X-----\n")
        await technician.sees("there is no certificate in it")
        await technician.press("enter")
        await technician.sees("CA          NEXT")  # what was there is there again
        await technician.press("escape")
        await technician.sees("nothing was changed")
        await technician.idle()
        assert not identity.has_certificate
        assert _actions(technician)[-1] == ("import", "refused: trust chain")

        await technician.press("i")
        await _paste(technician, bundle)
        await technician.press("t")  # the root came along
        await technician.sees("CN=CA, until")
        await technician.press("n")
        await technician.sees("CA          NEXT")
        assert not identity.has_trust

        await technician.press("t")
        await technician.sees("Compare each fingerprint")
        await technician.press("y")
        await technician.sees("y installs it")
        assert not identity.has_trust
        await technician.press("y")
        await technician.sees("5 Ready     DONE")
        assert identity.has_trust

        await _wrong_role_and_key(technician, authority)
        await _single_keys(technician)
        await _with_a_password(technician, authority)


async def _wrong_role_and_key(technician: Technician, authority: Authority) -> None:
    request = await _requested(technician, "client", role="client")
    leaf = authority.sign(request).read_text()
    board = technician.app.board
    await asyncio.to_thread(add_anchors, board, "client", authority.root.read_bytes())
    await technician.press("i")
    await _paste(technician, leaf)
    await technician.sees("y installs it")
    await technician.press("o")
    await technician.sees("has no serverAuth")
    await technician.sees("Role: server")
    await technician.press("escape", "i")
    await _paste(technician, authority.root.read_text())
    await technician.sees("key-match   FAIL")
    await technician.press("escape", "i")
    await technician.press("p")
    technician.app.screen.post_message(events.Paste("no certificate at all\n"))
    await technician.sees("1 line, ")
    await technician.press("ctrl+d")
    await technician.sees("there is no certificate in it")
    await technician.press("enter")


async def _with_a_password(technician: Technician, authority: Authority) -> None:
    """The proof needs a password, which is asked for only if the user wants the proof."""
    request = await _requested(technician, "locked", password=b"secret")
    bundle = authority.sign(request).read_text() + authority.root.read_text()
    await technician.press("i")
    await _paste(technician, bundle)
    await technician.press("t")
    await technician.sees("Compare each fingerprint")
    await technician.press("y")
    await technician.sees("key-proof   WARN")
    await technician.press("p")
    await technician.sees("attempts left")
    await technician.type("secret")
    await technician.press("enter")
    await technician.sees("signed a nonce")
    await technician.press("y")
    await technician.sees("5 Ready     DONE")


async def _single_keys(technician: Technician) -> None:
    """A paste from a slow terminal program, which arrives as if a person typed it."""
    await technician.press("i", "p")
    await technician.sees("nothing received yet")
    await technician.press("ctrl+d")
    await technician.sees("paste first")
    # Letters that are commands elsewhere, and ends of lines that end nothing here.
    await technician.type("qyn")
    await technician.press("enter")
    await technician.type("-----END X-----")
    await technician.press("enter")
    await technician.sees("1 complete block, 2 lines, 20 B")
    await technician.press("ctrl+u")
    await technician.sees("0 lines")
    await technician.press("escape")


def test_of_a_key_that_is_lost_no_step_is_done() -> None:
    gone = "its key is gone: nothing is at 0x81000010"
    one = Summary("pump", "ec-p256", "0x81000010", "none", "ERROR", gone, key_lost=True)
    facts = step_facts(replace(one, subject="CN=pump", has_trust=True), simulated=False)
    assert (facts[0].state, facts[0].text) == ("ERROR", gone)
    assert not {"DONE", "NEXT"} & {fact.state for fact in facts}


async def test_renewal_undo_and_trust(settings: Make, authority: Authority) -> None:
    async with console(settings(simulate=True)) as technician:
        request = await _requested(technician, "old")
        board = technician.app.board

        def install(days: int) -> None:
            leaf = authority.sign(request, days).read_bytes()
            root = authority.root.read_bytes()
            install_certificate(board, "old", judge_certificate(board, "old", [leaf], root, None))

        await asyncio.to_thread(install, 20)
        await technician.press("1")
        await technician.sees("EXPIRES")
        await technician.sees("in 19 days: renew it")
        await technician.press("3", "enter")
        await technician.sees("The same key")
        await technician.press("s")
        await technician.sees("Renewal for old")
        assert isinstance(technician.app.screen, FormDialog)
        await technician.press("up", "enter")
        await technician.sees("Sign it in the TPM")
        await technician.press("enter")
        await technician.sees("Hand the request of old")
        await technician.press("escape")
        await technician.sees("renewal CN=old")
        await asyncio.to_thread(install, 200)
        await technician.press("1", "3")
        await technician.sees("u: back to the previous one")
        await technician.press("u")
        await technician.sees("Go back to CN=old")
        await technician.press("y")
        await technician.sees("in 19 days")

        await technician.press("w", "n")
        await technician.sees("old-2")
        await technician.press("enter", "enter")
        await technician.sees("Hand the request of old-2")
        await technician.press("escape")
        assert board.identities.get("old-2").has_trust

        await technician.sees("2 of 2")  # the new one, selected automatically
        await technician.press("up", "t")
        await technician.sees("old trusts")
        await technician.sees("CN=CA, until")
        await technician.press("x")
        await technician.sees("Stop trusting a CA")
        await technician.press("n", "t")
        await technician.sees("old trusts")
        await technician.press("x")
        await technician.sees("Stop trusting a CA")
        await technician.press("y")
        await _forget(technician, "old")
        actions = [one for one, _ in _actions(technician)]
        assert {"forget", "undo import", "add trust", "remove trust", "create", "request"} <= set(
            actions
        )


async def _forget(technician: Technician, name: str) -> None:
    """Remove the chosen identity, which has no trust anchor; cancel once, then confirm."""
    await technician.sees("NO TRUST")
    await technician.press("x")
    await technician.sees(f"certificate CN={name}")
    await technician.press("n", "x")
    await technician.sees("key.pem, permanently")
    await technician.press("y")
    await technician.sees(f"{name}: forgotten")
    assert name not in technician.app.board.identities.names()


async def test_the_encoding_and_the_order_of_a_subject_are_the_form_s_to_choose(
    settings: Make,
) -> None:
    async with console(settings(simulate=True)) as technician:
        board = technician.app.board
        await technician.idle()
        await asyncio.to_thread(create_key, board, "pump", Algorithm.EC_P256)
        await technician.press("3", "r")
        await technician.sees("Request for pump")
        await technician.press(*["tab"] * 7)
        await technician.type("/CN=pump/O=Example/C=DE")
        await technician.press("tab", "tab", "tab")
        await technician.sees("The organizationName field is")
        await technician.press("space", "enter")
        await technician.sees("What will be requested")
        shown = dict(re.findall(r"(RFC 4514|OpenSSL|String type) +(.*?) +\|", technician.screen()))
        assert shown == {
            "RFC 4514": "C=DE,O=Example,CN=pump",
            "OpenSSL": "CN = pump, O = Example, C = DE",
            "String type": "PrintableString",
        }
        await technician.press("enter")
        await technician.until(
            lambda: board.identities.get("pump").has_request, "a request that is made"
        )
        asked = last_spec(board, "pump")
        assert asked == RequestSpec("C=DE,O=Example,CN=pump", (), "client", "printable")
        await technician.sees("Hand the request of pump")
        await technician.press("escape", "r")  # what was asked last is what the form begins with
        await technician.sees("< printable >")
        await technician.sees("C=DE,O=Example,CN=pump")


async def test_the_request_reaches_a_disk_the_clipboard_and_a_camera(
    settings: Make, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = Disk(tmp_path, "/dev/sdz1", "vfat", "Cruzer", 3_700_000_000, writable=True)
    full = Disk(Path("/nowhere"), "/dev/sdy1", "vfat", "", 0, writable=True)
    for module in (hand_over, files):
        monkeypatch.setattr(module, "disks_in_time", lambda: Disks((stick, full), ()))
    monkeypatch.setattr(Path, "is_mount", lambda self: self == tmp_path)
    async with console(settings(simulate=True), size=(100, 50)) as technician:
        request = await _requested(technician, "pump")
        technician.app.set_class(True, "unicode")
        await technician.press("h")
        await technician.sees("3.7 GB free, /dev/sdz1")
        await technician.press("2")
        await technician.sees("/nowhere is full")
        await technician.press("1")
        await technician.sees("synced")
        await technician.sees("umount")
        assert (tmp_path / "pump.csr").read_bytes() == request.read_bytes()
        await technician.press("enter")
        await technician.sees("3 To the CA DONE       written to")
        await technician.sees("UTC; waiting for the CA")
        await technician.sees("4 Import    NEXT       Enter or i")
        await technician.press("enter")  # opens the import
        await technician.sees("Certificate of pump")
        await technician.press("escape", "h")
        await technician.sees("3.7 GB free, /dev/sdz1")
        await technician.press("1")
        await technician.sees("would be replaced")
        monkeypatch.setattr(Path, "is_mount", lambda _: False)
        await technician.press("y")
        await technician.sees("Disk is gone")
        await technician.press("enter", "h", "c")
        await technician.sees("terminal's clipboard")
        assert technician.app.clipboard == request.read_text()
        await technician.press("enter", "h", "q")
        await technician.sees("Scan it")
        await technician.press("escape")
        await technician.sees("shown as a QR code")
        await technician.press("h", "s")
        await technician.sees("-----BEGIN CERTIFICATE REQUEST-----")
        await technician.press("escape")
        await technician.sees("shown on the screen")
        await technician.pilot.resize_terminal(80, 24)
        await technician.press("h", "q")
        await technician.sees("the terminal has 80x24")
        assert ("hand over", "failed: Disk is gone") in _actions(technician)
        await technician.press("escape")
        await _files(technician, tmp_path)


async def _files(technician: Technician, stick: Path) -> None:
    """From the removable disk down to a file, and up again."""
    folder = stick / "from the CA"
    folder.mkdir()
    (folder / "a.pem").write_text("-----BEGIN CERTIFICATE REQUEST-----\n")
    await technician.press("i", "f")  # where the request was written
    await technician.sees("from the CA/")
    await technician.press("enter")
    await technician.sees("a.pem")
    await technician.press("backspace")
    await technician.sees("from the CA/")
    table = technician.app.screen.query_one(Table)
    assert table.cursor_row == 1  # where we came from
    await technician.until(lambda: table.row_count > 2, "the request beside it")
    folder.rename(stick / "gone")
    await technician.press("enter")
    await technician.sees("still exists")
    await technician.press("d")
    await technician.sees("/dev/sdz1 Cruzer")
    await technician.press("enter")
    await technician.sees("gone/")
    await technician.press("enter")
    await technician.sees("a.pem")
    await technician.press("enter")
    await technician.sees("certificate signing request, not a certificate")


async def test_a_bad_template_and_no_tpm_lose_nothing_that_was_typed(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await asyncio.to_thread(create_key, technician.app.board, "pump", Algorithm.EC_P256)
    options = {"request": {"subject": "CN={colour}"}}
    gone = settings(tcti="device:/nowhere", tcti_source="--tcti", options=options)
    async with console(gone) as technician:
        await technician.sees("NO TPM")
        await technician.press("3")
        await technician.sees("pump")
        await technician.press("r")
        await technician.sees("{colour}")
        await technician.press(*["enter"] * 7)
        await technician.type("CN=a+OU=b,DC=example")
        await technician.press("down")
        await technician.type("nonsense")
        await technician.press("enter")
        await technician.sees("it must start with one of")
        await technician.press("tab", "enter")  # left empty, it is reported again at the end
        await technician.sees("it must start with one of")
        await technician.press(*["backspace"] * 8, "enter", "enter")
        await technician.sees("Sign it in the TPM")
        await technician.press("escape")
        await technician.sees("CN=a+OU=b,DC=example")
        await technician.press("up", "enter")
        await technician.sees("Sign it in the TPM")
        await technician.press("enter")
        await technician.sees("No TPM reached")
        await technician.press("enter", "r")
        await technician.sees("CN=a+OU=b,DC=example")
        await technician.press("escape", "r")
        await technician.sees("{colour}")
        assert "DC=example" not in technician.screen()
