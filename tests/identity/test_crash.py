"""Identities and power cuts: killed at every step, and a disk without room."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.pki import ca

from tpmconsole.errors import ConsoleError
from tpmconsole.identity.store import Identity, IdentityStore
from tpmconsole.x509.names import fingerprint

KEY = b"-----BEGIN TSS2 PRIVATE KEY-----\n"


def _make(store: IdentityStore, name: str = "gateway") -> Identity:
    return store.create(name, key_pem=KEY, handle=None, algorithm="ec-p256", auth="none")


# A child that dies at its n-th write to the disk, as in a power cut; or writes less often.

_STEPS = ("fsync", "rename", "replace", "unlink", "mkdir", "write")


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing is counted as a step, and waits for no disk: these tests do it a thousand times."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def _in_child(work: Callable[[], object], prepare: Callable[[], object]) -> int:
    """Run it in a forked child; returns the child's exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            prepare()
            work()
        except ConsoleError as error:
            os._exit(7 if error.title == "Not written" else 8)
        except BaseException:  # noqa: BLE001 - whatever it is must not reach pytest's copy
            os._exit(9)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die_at(step: int) -> Callable[[], None]:
    """Kill -9 ourselves before the step-th call that changes the disk."""

    def prepare() -> None:
        left = step

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        for name in _STEPS:
            setattr(os, name, counted(getattr(os, name)))

    return prepare


def _killed_at_every_step(
    tmp_path: Path,
    prepare: Callable[[IdentityStore], object],
    work: Callable[[IdentityStore], object],
    check: Callable[[IdentityStore], object],
) -> int:
    """Kill it once at each step, each time from the same start; then look, do it again, and look.

    Returns:
        how many steps it has.
    """
    for step in range(1, 200):
        store = IdentityStore(tmp_path / str(step) / "identities")
        prepare(store)
        code = _in_child(partial(work, store), _die_at(step))
        check(store)
        if code == 0:
            return step - 1
        assert code == -signal.SIGKILL
        again = _in_child(partial(work, store), lambda: None)
        assert again in {0, 8}  # done now, or it was done already and cannot be done twice
        check(store)
    raise AssertionError("it never ends")


def test_creation_killed_at_every_step_leaves_all_or_nothing(
    tmp_path: Path, quick_disk: None
) -> None:
    def check(store: IdentityStore) -> None:
        for identity in store.all():
            assert identity.problem is None
            assert identity.key_pem == KEY

    def prepare(store: IdentityStore) -> None:
        store.reserve("gateway")

    assert _killed_at_every_step(tmp_path, prepare, _make, check) > 5


OLD, NEW = (b"chain old", b"trust old"), (b"chain new", b"trust new")


def _pairs_belong_together(store: IdentityStore) -> None:
    folder = store.get("gateway").folder
    pair = ((folder / "certificate.pem").read_bytes(), (folder / "trust.pem").read_bytes())
    assert pair in {OLD, (OLD[0], NEW[1]), NEW}
    if store.get("gateway").can_undo:
        kept = (folder / "certificate.pem.previous").read_bytes()
        assert (folder / "trust.pem.previous").read_bytes()[6:] == kept[6:]


def _installed_twice(store: IdentityStore) -> None:
    _make(store)
    store.install("gateway", b"chain first", b"trust first")
    store.install("gateway", *OLD)


def test_installing_killed_at_every_step_never_leaves_a_wrong_pair(
    tmp_path: Path, quick_disk: None
) -> None:
    def install(store: IdentityStore) -> None:
        store.install("gateway", *NEW)

    steps = _killed_at_every_step(tmp_path, _installed_twice, install, _pairs_belong_together)
    assert steps > 10
    for step in range(1, steps):
        store = IdentityStore(tmp_path / str(step) / "identities")
        back = store.undo_install("gateway")
        assert (back.certificate.read_bytes(), back.trust.read_bytes()) == OLD


def test_undoing_killed_at_every_step_never_leaves_a_wrong_pair(
    tmp_path: Path, quick_disk: None
) -> None:
    def prepare(store: IdentityStore) -> None:
        _installed_twice(store)
        store.install("gateway", *NEW)

    def undo(store: IdentityStore) -> None:
        store.undo_install("gateway")

    steps = _killed_at_every_step(tmp_path, prepare, undo, _pairs_belong_together)
    assert steps > 5
    for step in range(1, steps):
        folder = IdentityStore(tmp_path / str(step) / "identities").get("gateway").folder
        assert (folder / "certificate.pem").read_bytes() == OLD[0]
        assert (folder / "trust.pem").read_bytes() == OLD[1]


def test_a_request_killed_at_every_step_never_has_another_role(
    tmp_path: Path, quick_disk: None
) -> None:
    def prepare(store: IdentityStore) -> None:
        _make(store)

    def check(store: IdentityStore) -> None:
        identity = store.get("gateway")
        assert identity.problem is None
        assert not identity.has_request or identity.role == "server"

    def save(store: IdentityStore) -> None:
        store.save_request("gateway", b"request", "server")

    assert _killed_at_every_step(tmp_path, prepare, save, check) > 3


def test_moving_to_a_handle_killed_at_every_step_keeps_the_key(
    tmp_path: Path, quick_disk: None
) -> None:
    def prepare(store: IdentityStore) -> None:
        _make(store)

    def check(store: IdentityStore) -> None:
        found = store.get("gateway")
        assert found.problem is None
        assert found.handle == 0x81000010 or found.key_pem == KEY

    def move(store: IdentityStore) -> None:
        store.move_to_handle("gateway", 0x81000010)

    assert _killed_at_every_step(tmp_path, prepare, move, check) > 3


def test_trusting_killed_at_every_step_keeps_every_anchor_that_was_there(
    tmp_path: Path, quick_disk: None
) -> None:
    first, second = ca("First"), ca("Second")

    def prepare(store: IdentityStore) -> None:
        _make(store)
        store.install("gateway", b"chain first", first.pem)
        store.install("gateway", b"chain second", first.pem)

    def check(store: IdentityStore) -> None:
        assert first.certificate in store.trust_certificates("gateway")

    def add(store: IdentityStore) -> None:
        store.add_anchors("gateway", [second.certificate])

    steps = _killed_at_every_step(tmp_path, prepare, add, check)
    assert steps > 4
    for step in range(1, steps):
        store = IdentityStore(tmp_path / str(step) / "identities")
        store.undo_install("gateway")
        assert second.certificate in store.trust_certificates("gateway")

    def drop(store: IdentityStore) -> None:
        store.drop_anchor("gateway", fingerprint(second.certificate))

    def prepare_both(store: IdentityStore) -> None:
        prepare(store)
        add(store)

    assert _killed_at_every_step(tmp_path / "drop", prepare_both, drop, check) > 4


def _no_room() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path / "identities")
    made = _make(store)
    store.install("gateway", b"chain old", b"trust old")
    before = {one: one.read_bytes() for one in made.folder.iterdir()}
    for work in (
        lambda: store.install("gateway", b"c" * 100, b"t" * 100),
        lambda: store.save_request("gateway", b"r" * 100, "client"),
        lambda: store.move_to_handle("gateway", 0x81000010),
        lambda: store.add_anchors("gateway", [ca("New").certificate]),
        lambda: _make(store, "other"),
    ):
        assert _in_child(work, _no_room) == 7
    after = {one: one.read_bytes() for one in made.folder.iterdir() if one in before}
    assert after == before
    assert made.key_pem == KEY
    assert [one.name for one in store.root.iterdir()] == ["gateway"]
    assert not list(made.folder.glob(".*"))
