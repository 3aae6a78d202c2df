"""Page 2 by keyboard: keys made, imported, moved and removed, with the passwords they take."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.swtpm import SwtpmAlone
from support.technician import Technician, console
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.board.keys import key_files, persistent_keys
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import KeyFile

Make = Callable[..., Settings]


@pytest.fixture
def owned(settings: Make, alone: SwtpmAlone) -> Settings:
    """Settings for a TPM whose owner hierarchy has the password ``owner``."""
    with ESAPI(alone.connection.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, "owner")
    return settings(tcti=alone.connection.tcti, tcti_source="--tcti")


def check_still_there(path: Path) -> None:
    assert path.exists()


def key_of(technician: Technician, name: str) -> KeyFile:
    (found,) = (one for one in key_files(technician.app.board) if one.identity == name)
    return found


async def test_the_owner_s_password_is_asked_for_and_what_evicting_breaks_is_named(
    owned: Settings,
) -> None:
    async with console(owned) as technician:
        await technician.press("2", "c")
        await technician.sees("New key in the TPM")
        # Enter passes over what has no meaning without a password.
        await technician.type("pump")
        await technician.press("enter", "enter", "enter", "enter")
        await technician.sees("Password of the TPM's hierarchy")
        await technician.sees("Wrong ones do not count")
        await technician.press("enter")
        await technician.sees("Type it")
        await technician.type("wrong")
        await technician.press("enter")
        await technician.sees("the TPM refused the password of its owner hierarchy")
        await technician.type("owner")
        await technician.press("enter")
        await technician.sees("pump/key.pem")
        await technician.press("p")
        await technician.sees("room for")
        await technician.press("enter")
        await technician.sees("no way back")
        await technician.press("y")
        await technician.sees("Password of the TPM's hierarchy")
        await technician.type("owner")
        await technician.press("enter")
        await technician.sees("pump is now at 0x81000010")
        await technician.sees("signing key")
        await technician.press("e")
        await technician.sees("identity pump: its key")
        await technician.press("n", "e")
        await technician.sees("Remove it from the TPM?")
        await technician.press("y")
        await technician.sees("Password of the TPM's hierarchy")
        await technician.press("escape")
        await technician.sees("no password was given")
        assert persistent_keys(technician.app.board)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A private key of OpenSSL's, encrypted with ``right``."""
    source = tmp_path / "elsewhere.pem"
    command = ("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", str(source))
    secret = ("-aes256", "-pass", "pass:right")
    subprocess.run(["/usr/bin/openssl", *command, *secret], check=True, capture_output=True)
    return source


async def test_a_key_from_a_file_is_imported_with_its_warning_and_passphrase(
    settings: Make, elsewhere: Path
) -> None:
    async with console(settings(simulate=True)) as technician:
        await technician.idle()
        await technician.press("2", "i", "t", "ctrl+u", *str(elsewhere), "enter")
        await technician.sees("existed outside the TPM")
        await technician.type("guest")
        await technician.press("enter", "enter", *"secret", "enter", *"secrets", "enter")
        await technician.sees("the two passwords differ")
        await technician.press(*"secret", "enter", *"secret", "enter")
        await technician.sees("may guess without end")
        await technician.press("space", "enter", "enter")
        await technician.sees("Passphrase of")
        await technician.type("wrong")
        await technician.press("enter")
        await technician.sees("does not decrypt with this passphrase")
        await technician.type("right")
        await technician.press("enter")
        await technician.sees("the source file is still there")
        await technician.press("escape")
        made = key_of(technician, "guest")
        assert (made.origin, made.auth) == ("imported", "password")
        assert made.counts_towards_lockout is False
    check_still_there(elsewhere)
