"""A TPM that lacks what passwords are hidden with on their way to it: told, and none is sent."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from faults.proxy import GET_CAPABILITY, PassOn, Proxy, answer, code_of
from support.swtpm import SwtpmAlone
from support.technician import console

from tpmconsole.board import Board
from tpmconsole.board.lines import status_lines
from tpmconsole.errors import ConsoleError
from tpmconsole.settings import Settings
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.keys import private_key
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef
from tpmconsole.ui.pages.overview import health_facts

START_AUTH_SESSION, CFB = 0x176, 0x0043
CAP_ALGS = 0
# TPM_RC_SYMMETRIC, of the fourth parameter (Part 2, 6.6.2).
SYMMETRIC = 0x080 | 0x016 | 0x040 | 0x400
WORDS = "this TPM lacks encrypted sessions"


def without_cfb(command: bytes, pass_on: PassOn) -> bytes:
    """The real TPM, without one mode of its cipher."""
    code = code_of(command)
    if code == START_AUTH_SESSION and struct.pack(">H", CFB) in command:
        return answer(SYMMETRIC)
    response = pass_on(command)
    if code != GET_CAPABILITY or command[10:14] != struct.pack(">I", CAP_ALGS):
        return response
    count = struct.unpack_from(">I", response, 15)[0]
    entries = [response[19 + 6 * one : 25 + 6 * one] for one in range(count)]
    kept = [one for one in entries if struct.unpack_from(">H", one)[0] != CFB]
    body = response[10:15] + struct.pack(">I", len(kept)) + b"".join(kept)
    return response[:2] + struct.pack(">I", 10 + len(body)) + response[6:10] + body


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Proxy]:
    swtpm = SwtpmAlone(tmp_path)
    swtpm.start()
    proxy = Proxy(swtpm.folder / "proxy", swtpm.folder / "sock")
    try:
        yield proxy
    finally:
        proxy.close()
        swtpm.kill()


def client(between: Proxy, folder: Path) -> Tpm:
    return Tpm(lambda: Connection(between.tcti, "the test's own"), folder / "log")


def test_a_tpm_that_has_them_says_so(between: Proxy, tmp_path: Path) -> None:
    tpm = client(between, tmp_path)
    try:
        health = tpm.health()
    finally:
        tpm.close()
    assert health.encrypted_sessions is True
    assert health.to_json()["encrypted_sessions"] is True
    assert any("used in encrypted sessions" in line for line in status_lines(health))
    assert WORDS not in str(health_facts(health))


def test_a_tpm_that_lacks_them_is_told_and_given_no_password(
    between: Proxy, tmp_path: Path
) -> None:
    maker = client(between, tmp_path)
    try:
        key = KeyRef(pem=maker.create(Algorithm.EC_P256))
        protected = KeyRef(pem=maker.create(Algorithm.EC_P256, Auth(b"secret")))
    finally:
        maker.close()
    between.spoil(without_cfb)
    tpm = client(between, tmp_path)
    try:
        health = tpm.health()
        assert health.encrypted_sessions is False
        assert any(WORDS in line for line in status_lines(health))
        (row,) = (one for one in health_facts(health) if WORDS in one.text)
        assert row.state == "NONE"
        assert tpm.check_key(key).answer == "yes"  # it needs no session
        works: list[Callable[[], object]] = [
            lambda: tpm.create(Algorithm.EC_P256),
            lambda: tpm.create(Algorithm.EC_P256, Auth(b"secret")),
            lambda: private_key(tpm, protected, Auth(b"secret")).sign(b"", ECDSA(SHA256())),
        ]
        for work in works:
            with pytest.raises(ConsoleError, match="No encrypted sessions") as refused:
                work()
            assert "no password is sent" in refused.value.cause
    finally:
        tpm.close()


async def test_the_overview_shows_it(between: Proxy, tmp_path: Path) -> None:
    between.spoil(without_cfb)
    settings = Settings(state=tmp_path / "state", tcti=between.tcti, tcti_source="--tcti")
    async with console(settings) as technician:
        await technician.sees(WORDS)
    assert Board(settings).settings.tcti == between.tcti
