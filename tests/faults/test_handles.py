"""Handles that cannot be read: of a kind that nobody knows yet, or emptied meanwhile."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.proxy import READ_PUBLIC, Fault, PassOn, Proxy, code_of
from support.shell import QuickShell
from support.swtpm import SwtpmAlone
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef

ODD, GOOD = 0x81000010, 0x81000011


@pytest.fixture
def between(alone: SwtpmAlone) -> Iterator[Proxy]:
    """What is between the console and the TPM."""
    made = Proxy(alone.folder / "between", alone.folder / "sock")
    yield made
    made.close()


@pytest.fixture
def tpm(between: Proxy, client: Callable[..., Tpm]) -> Tpm:
    """A client of a TPM with a key at each of two handles."""
    tpm = client(lambda: Connection(between.tcti, "the test's own"))
    for handle in (ODD, GOOD):
        tpm.persist(tpm.create(Algorithm.EC_P256), handle)
    return tpm


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Tpm]]:
    """Makes clients that are closed at the end."""
    made: list[Tpm] = []

    def make(connect: Callable[[], Connection]) -> Tpm:
        made.append(Tpm(connect, tmp_path / "log"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _reads_odd(command: bytes) -> bool:
    return code_of(command) == READ_PUBLIC and command[10:14] == ODD.to_bytes(4, "big")


def of_type(number: int) -> Fault:
    """A public area of another type; ML-DSA's is 0x00a1 (TPM 2.0 Part 2, version 1.85)."""
    return _changed(lambda area: number.to_bytes(2, "big") + area[2:])


def with_scheme(number: int) -> Fault:
    """An EC key with a scheme of its own, and SHA-256."""
    scheme = number.to_bytes(2, "big") + b"\0\x0b"
    return _changed(lambda area: area[:12] + scheme + area[14:])


def _changed(change: Callable[[bytes], bytes]) -> Fault:
    def fault(command: bytes, pass_on: PassOn) -> bytes:
        answer = pass_on(command)
        if not _reads_odd(command):
            return answer
        tag, _, code = struct.unpack_from(">HII", answer)
        (size,) = struct.unpack_from(">H", answer, 10)
        area = change(answer[12 : 12 + size])
        body = struct.pack(">H", len(area)) + area + answer[12 + size :]
        return struct.pack(">HII", tag, 10 + len(body), code) + body

    return fault


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (of_type(0x00A1), "key type 0x00a1 is not known here"),
        (of_type(0x0025), "bytes are left over"),
    ],
    ids=["unknown", "misleading"],
)
def test_a_kind_that_nobody_knows_is_a_row(
    tpm: Tpm, between: Proxy, fault: Fault, reason: str
) -> None:
    between.spoil(fault)
    odd, good = tpm.persistent_keys()
    assert (odd.handle, odd.readable, good.readable) == (f"0x{ODD:08x}", False, True)
    assert reason in (odd.reason or "")
    assert tpm.check_key(KeyRef(handle=GOOD)).usable
    for use in (
        lambda: tpm.check_key(KeyRef(handle=ODD)),
        lambda: tpm.public_pem(KeyRef(handle=ODD)),
        lambda: tpm.evict(ODD),
    ):
        with pytest.raises(ConsoleError, match="Key not understood"):
            use()
    with pytest.raises(ConsoleError, match="another key"):
        tpm.persist(tpm.create(Algorithm.EC_P256), ODD)
    # Nothing of that has cost the connection.
    worker = tpm.worker_pid
    tpm.evict(GOOD)
    assert [key.handle for key in tpm.persistent_keys()] == [f"0x{ODD:08x}"]
    assert tpm.worker_pid == worker


def test_a_kind_that_the_tss_alone_does_not_know_costs_no_connection(
    tpm: Tpm, between: Proxy
) -> None:
    between.spoil(with_scheme(0x7FFE))
    odd, _ = tpm.persistent_keys()
    assert odd.readable
    with pytest.raises(ConsoleError, match="the TSS does not know this kind"):
        tpm.check_key(KeyRef(handle=ODD))
    assert tpm.check_key(KeyRef(handle=GOOD)).usable


def test_a_key_that_is_evicted_while_the_list_is_read_is_a_row(
    tpm: Tpm, between: Proxy, alone: SwtpmAlone
) -> None:
    def emptied(command: bytes, pass_on: PassOn) -> bytes:
        if _reads_odd(command):
            between.mend()
            with ESAPI(alone.connection.tcti) as esapi:
                esapi.evict_control(ESYS_TR.OWNER, esapi.tr_from_tpmpublic(ODD), ODD)
        return pass_on(command)

    between.spoil(emptied)
    odd, good = tpm.persistent_keys()
    assert odd.reason == f"there is nothing at 0x{ODD:08x}"
    assert good.readable
    assert [key.handle for key in tpm.persistent_keys()] == [f"0x{GOOD:08x}"]


def test_every_command_goes_on_beside_one(tpm: Tpm, between: Proxy, state: Path) -> None:
    between.spoil(of_type(0x00A1))
    shell = QuickShell(state)

    def run(*arguments: str) -> Any:
        return shell("--tcti", between.tcti, *arguments)

    assert f"0x{ODD:08x}" in run("keys").stdout
    for arguments in (
        ("status",),
        ("keys", "--prove"),
        ("create", "inside", "--handle", "0x81000020"),
        ("create", "file"),
        ("persist", "file", "0x81000021", "--yes"),
        ("evict", "0x81000021", "--yes"),
    ):
        done = run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
