"""Spoilt answers of a TPM, and a TPM that refuses: each has its name, and the next call is well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import proxy
from faults.proxy import Proxy
from support.swtpm import SwtpmAlone

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection

HANDLE = 0x81000010


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwtpmAlone]:
    swtpm = SwtpmAlone(tmp_path_factory.mktemp("f"))
    swtpm.start()
    yield swtpm
    swtpm.kill()


@pytest.fixture(scope="module")
def shared(raw: SwtpmAlone) -> Iterator[Proxy]:
    between = Proxy(raw.folder / "proxy", raw.folder / "sock")
    yield between
    between.close()


@pytest.fixture
def between(shared: Proxy) -> Iterator[Proxy]:
    shared.commands.clear()
    yield shared
    shared.mend()


@pytest.fixture(scope="module")
def tpm(shared: Proxy, raw: SwtpmAlone) -> Iterator[Tpm]:
    client = Tpm(
        lambda: Connection(shared.tcti, "the test's own"), raw.folder / "log", deadlines={"read": 2}
    )
    yield client
    client.close()


def refused(work: Callable[[], object]) -> ConsoleError:
    with pytest.raises(ConsoleError) as caught:
        work()
    error = caught.value
    assert error.title
    assert error.cause
    assert error.remedy
    return error


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (proxy.cut_off, "the connection broke"),
        (proxy.truncated, "the connection broke"),
        (proxy.garbled, "does not speak TPM 2.0"),
        (proxy.garbled_body, "cannot be decoded"),
        (proxy.zero_filled, "does not speak TPM 2.0"),
        (proxy.empty, "cannot be decoded"),
        (proxy.huge, "does not speak TPM 2.0"),
    ],
)
def test_a_spoilt_answer_is_no_tpm_and_the_next_call_is_well(
    tpm: Tpm, between: Proxy, fault: proxy.Fault, words: str
) -> None:
    tpm.health()
    between.spoil(fault)
    error = refused(tpm.health)
    assert (error.title, error.exit_code) == ("No TPM reached", ExitCode.NO_TPM)
    assert words in error.cause
    between.mend()
    assert tpm.health().mode == "operational"


@pytest.mark.parametrize(
    ("code", "title", "cause"),
    [
        (0x101, "TPM in failure mode", "self-test failed"),
        (0x902, "No room in the TPM", "places for loaded keys"),
        (0x903, "No room in the TPM", "places for sessions"),
        (0x921, "TPM locked out", "wrong passwords"),
    ],
)
def test_a_refusal_is_told_at_once(
    tpm: Tpm, between: Proxy, code: int, title: str, cause: str
) -> None:
    between.spoil(proxy.answering(code, proxy.CREATE_PRIMARY))
    error = refused(lambda: tpm.create(Algorithm.EC_P256))
    assert (error.title, error.exit_code) == (title, ExitCode.REFUSED)
    assert cause in error.cause
    assert between.commands[proxy.CREATE_PRIMARY] == 1
    between.mend()
    assert tpm.create(Algorithm.EC_P256)


@pytest.mark.parametrize("code", [0x908, 0x90A, 0x920, 0x922, 0x923])
def test_a_tpm_that_is_busy_for_a_while_is_asked_again(tpm: Tpm, between: Proxy, code: int) -> None:
    between.spoil(proxy.answering(code, times=3))
    assert tpm.health().mode == "operational"


def test_a_tpm_that_is_busy_for_ever_is_named(tpm: Tpm, between: Proxy) -> None:
    between.spoil(proxy.answering(0x922))
    error = refused(tpm.health)
    assert (error.title, error.exit_code) == ("TPM busy", ExitCode.REFUSED)


def test_a_tpm_that_was_not_started_is(tpm: Tpm, between: Proxy) -> None:
    between.spoil(proxy.answering(0x100, times=1))
    assert tpm.health().mode == "operational"
    assert between.commands[proxy.STARTUP] == 1


def test_a_slow_tpm_is_no_hung_one(tpm: Tpm, between: Proxy) -> None:
    """Together its answers take longer than the deadline, each alone does not."""
    quick = Tpm(
        lambda: Connection(between.tcti, "the test's own"), between.path.parent / "log",
        deadlines={"read": 0.6},
    )  # fmt: skip
    try:
        quick.health()
        between.commands.clear()
        between.spoil(proxy.delayed(0.05))
        assert quick.health().mode == "operational"
        assert between.commands.total() * 0.05 > 0.6
    finally:
        quick.close()


def foreign_keys(tpm: Tpm) -> int:
    transient = tpm.health().transient
    assert transient is not None
    return transient.used


def test_what_broken_connections_left_is_taken_out_and_nothing_else(
    tpm: Tpm, between: Proxy
) -> None:
    """Without a resource manager a TPM has three places for keys, and frees nobody's."""
    from tpm2_pytss import ESAPI

    with ESAPI(between.tcti) as other:
        handle, *_ = other.create_primary(None)
        for _ in range(4):
            between.spoil(proxy.cut_off_at(proxy.CREATE))
            refused(lambda: tpm.create(Algorithm.EC_P256))
            between.mend()
            assert foreign_keys(tpm) == 1
        other.flush_context(handle)
    assert foreign_keys(tpm) == 0


def test_what_a_killed_worker_left_is_taken_out(between: Proxy, tmp_path: Path) -> None:
    hung = Tpm(
        lambda: Connection(between.tcti, "the test's own"), tmp_path / "log", deadlines={"ec": 0.5}
    )
    try:
        between.hang(proxy.CREATE)
        error = refused(lambda: hung.create(Algorithm.EC_P256))
        assert error.title == "TPM does not answer"
        between.mend()
        assert foreign_keys(hung) == 0
    finally:
        hung.close()


def test_a_key_that_was_persisted_though_the_answer_was_lost_is_found(
    tpm: Tpm, between: Proxy
) -> None:
    pem = tpm.create(Algorithm.EC_P256)
    lost = threading.Event()

    def once(command: bytes, pass_on: proxy.PassOn) -> bytes | None:
        response = pass_on(command)
        if proxy.code_of(command) != proxy.EVICT_CONTROL or lost.is_set():
            return response
        lost.set()
        return None

    between.spoil(once)
    tpm.persist(pem, HANDLE)
    assert lost.is_set()
    assert between.commands[proxy.EVICT_CONTROL] == 1
    tpm.evict(HANDLE)
