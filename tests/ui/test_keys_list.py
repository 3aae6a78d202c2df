"""The list of keys: stream, filter, sort and check them without using up an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.swtpm import SwtpmAlone
from support.technician import Technician, console
from tpm2_pytss import ESAPI, ESYS_TR, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE

from tpmconsole.settings import Settings
from tpmconsole.tpm import keyfile
from tpmconsole.tpm.model import Algorithm
from tpmconsole.ui.pages.keys.reading import FIRST, MOST, handfuls

Make = Callable[..., Settings]
PARENT = 0x81000005
KEYS = 50


@pytest.fixture
def guarded(settings: Make, alone: SwtpmAlone) -> Settings:
    """Settings for a TPM whose parent has a password and counts wrong passwords."""
    with ESAPI(alone.connection.tcti) as esapi:
        sensitive = TPM2B_SENSITIVE_CREATE()
        sensitive.sensitive.userAuth = b"parent"
        attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
        made = esapi.create_primary(
            sensitive, TPM2B_PUBLIC.parse(alg="ecc", objectAttributes=attributes)
        )[0]
        esapi.evict_control(ESYS_TR.OWNER, made, PARENT)
        esapi.flush_context(made)
    return settings(tcti=alone.connection.tcti, tcti_source="--tcti")


def write_keys(technician: Technician, folder: Path) -> None:
    """Fifty key files below the guarded parent, some of them readable by others."""
    folder.mkdir()
    key = keyfile.parse(technician.app.board.tpm.create(Algorithm.EC_P256))
    for number in range(KEYS):
        path = folder / f"device-{number}.pem"
        path.write_bytes(replace(key, parent=PARENT).to_pem())
        path.chmod(0o644 if number == 0 else 0o600)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def failed_tries(technician: Technician) -> int:
    lockout = technician.app.board.status().lockout
    assert lockout is not None
    return lockout.failed_tries


async def test_fifty_keys_below_a_guarded_parent_cost_no_try(
    guarded: Settings, tmp_path: Path
) -> None:
    async with console(guarded) as technician:
        await technician.idle()
        folder = tmp_path / "keys"
        write_keys(technician, folder)
        await technician.press("2", "o")
        await technician.sees("List the keys of a folder")
        await technician.sees("the identities")
        await technician.press("t")
        await technician.press("ctrl+u", *str(folder), "enter")
        await technician.sees(f"1 of {KEYS + 1}")
        await technician.press("end", "home", "pagedown", "up", "down", "home")
        await technician.press("enter")
        await technician.sees("SHA-256")
        await technician.press("escape", "m")
        await technician.sees("only its owner can read device-0.pem now")
        assert mode(folder / "device-0.pem") == 0o600
        await technician.press("slash", *"DEVICE-4")
        await technician.sees("/DEVICE-4_,  1 of 11 (51 in all)")
        await technician.press("backspace", "enter", "s")
        await technician.sees("/DEVICE-,  1 of 50 (51 in all), by where")
        # Even on request, nothing is tried before the user has confirmed it.
        await technician.press("u")
        await technician.sees("Password of the parent")
        await technician.sees("attempts left: 3 of 3")
        await technician.press("escape", "a")
        await technician.sees("Esc leaves these keys out")
        await technician.press("escape")
        await technician.sees("50 keys checked; known as usable: 0")
        assert failed_tries(technician) == 0
        # A wrong password of the parent is sent once, not fifty times.
        await technician.press("a")
        await technician.sees("Esc leaves these keys out")
        await technician.type("wrong")
        await technician.press("enter")
        await technician.sees("WRONG")
        await technician.idle()
        assert failed_tries(technician) == 1
        await technician.press("escape")
        await technician.sees("2 of 51, by where")


def test_the_first_screenful_comes_before_the_rest() -> None:
    assert [len(some) for some in handfuls(range(FIRST + MOST + 5))] == [FIRST, MOST, 5]
    slow = iter(range(100))
    assert [len(some) for some in handfuls("abc", lambda: float(next(slow)))] == [1, 1, 1]
