"""Identities on disk: names, files, and the state after a crash, a race or a full disk."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import stat
import tomllib
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from support.pki import ca

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.identity import store as store_module
from tpmconsole.identity.record import Record, format_record, parse_record
from tpmconsole.identity.store import Identity, IdentityStore, check_name
from tpmconsole.system.files import UNFINISHED

KEY = b"-----BEGIN TSS2 PRIVATE KEY-----\n"


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path / "state" / "identities")


def _make(store: IdentityStore, name: str = "gateway") -> Identity:
    return store.create(name, key_pem=KEY, handle=None, algorithm="ec-p256", auth="none")


def _modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(one.stat().st_mode) for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize("name", ["a", "gateway-1", "Line_2.left", "_", "-", "a" * 64])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a" * 65, "a" * 300, "a b", "ü", "a\n", "a\0",
     "\x1b[2J", "a\\b", "~", "$HOME", "*"],
)  # fmt: skip
def test_bad_names_are_wrong_usage(store: IdentityStore, name: str) -> None:
    for ask in (check_name, store.get, store.reserve):
        with pytest.raises(ConsoleError) as caught:
            ask(name)
        assert caught.value.exit_code == ExitCode.USAGE
        assert str(caught.value).isprintable()
    with pytest.raises(ConsoleError):
        _make(store, name)
    assert not store.root.exists()


def test_a_new_identity(store: IdentityStore) -> None:
    assert store.names() == []
    made = store.create(
        "gateway",
        key_pem=KEY,
        handle=None,
        algorithm="ec-p384",
        auth="password",
        now=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    )
    assert made == store.get("gateway") == store.all()[0]
    assert made.key_pem == KEY
    assert (made.algorithm, made.auth, made.role) == ("ec-p384", "password", None)
    assert made.created == "2026-01-02T03:04:05+00:00"
    assert made.stage == "key"
    assert made.problem is None
    assert _modes(store.root) == {0o600}
    folders = (store.root.parent, store.root, made.folder)
    assert {stat.S_IMODE(one.stat().st_mode) for one in folders} == {0o700}
    assert tomllib.loads((made.folder / "identity.toml").read_text())["name"] == "gateway"


def test_a_key_at_a_handle(store: IdentityStore) -> None:
    made = store.create("inside", key_pem=None, handle=0x81000010, algorithm="ec-p256", auth="none")
    assert made.handle == 0x81000010
    assert made.key_pem is None
    assert (made.folder / "key.handle").read_text() == "0x81000010\n"
    assert not (made.folder / "key.pem").exists()


def test_key_moves_to_a_handle(store: IdentityStore) -> None:
    _make(store)
    moved = store.move_to_handle("gateway", 0x81000011)
    assert (moved.handle, moved.key_pem, moved.problem) == (0x81000011, None, None)
    assert not (moved.folder / "key.pem").exists()


def test_a_name_is_given_once(store: IdentityStore) -> None:
    _make(store)
    for again in (lambda: store.reserve("gateway"), lambda: _make(store)):
        with pytest.raises(ConsoleError, match="Name is taken"):
            again()
    (store.root / "file").write_text("")
    for again in (lambda: store.reserve("file"), lambda: _make(store, "file")):
        with pytest.raises(ConsoleError, match="Name is taken"):
            again()
    assert store.names() == ["gateway"]
    assert not list(store.root.glob(".*"))


def test_unknown_identity_names_those_there_are(store: IdentityStore) -> None:
    _make(store)
    with pytest.raises(ConsoleError, match="Unknown identity") as caught:
        store.get("other")
    assert "gateway" in say(caught.value.remedy)
    assert caught.value.exit_code == ExitCode.NO


def test_what_is_no_identity_is_not_listed(store: IdentityStore) -> None:
    made = _make(store)
    (store.root / ".gateway.x").mkdir()
    (store.root / "a file").write_text("")
    (store.root / "link").symlink_to(made.folder)
    assert store.names() == ["gateway"]


def test_the_walk(store: IdentityStore) -> None:
    _make(store)
    store.save_request("gateway", b"request", "server")
    identity = store.get("gateway")
    assert (identity.stage, identity.role) == ("request", "server")
    assert identity.request.read_bytes() == b"request"
    assert identity.handed is None
    store.save_handed("gateway", "written to /media/x\x1b/gateway.csr")
    handed = store.get("gateway").handed
    assert handed is not None
    assert handed.where == r"written to /media/x\x1b/gateway.csr"
    assert abs((datetime.now(UTC) - handed.when).total_seconds()) < 60
    record = identity.folder / "identity.toml"
    record.write_text(record.read_text().replace("handed_at = ", "handed_at = 'soon' #"))
    assert store.get("gateway").handed is None
    store.save_request("gateway", b"request", "server", "written to /mnt/a.csr")
    assert store.get("gateway").handed is not None
    store.save_request("gateway", b"request", "server")  # another one was not handed over yet
    assert store.get("gateway").handed is None
    anchor = ca("Root")
    store.install("gateway", b"chain 1", anchor.pem)
    assert store.get("gateway").stage == "ready"
    assert not store.get("gateway").can_undo
    assert store.trust_certificates("gateway") == [anchor.certificate]
    assert _modes(store.root) == {0o600}


def test_install_keeps_what_was_before_and_undoes_once(store: IdentityStore) -> None:
    identity = _make(store)
    store.install("gateway", b"chain 1", b"trust 1")
    store.install("gateway", b"chain 2", b"trust 2")
    store.install("gateway", b"chain 2", b"trust 2")  # the same again loses nothing
    assert store.get("gateway").can_undo
    assert (identity.folder / "certificate.pem.previous").read_bytes() == b"chain 1"
    back = store.undo_install("gateway")
    assert (back.certificate.read_bytes(), back.trust.read_bytes()) == (b"chain 1", b"trust 1")
    with pytest.raises(ConsoleError, match="Nothing to undo"):
        store.undo_install("gateway")


def test_install_without_trust_leaves_the_anchors(store: IdentityStore) -> None:
    identity = _make(store)
    store.install("gateway", b"chain 1", b"trust 1")
    store.install("gateway", b"chain 2", None)
    assert identity.trust.read_bytes() == b"trust 1"
    assert store.undo_install("gateway").trust.read_bytes() == b"trust 1"


def test_no_trust_yet(store: IdentityStore) -> None:
    _make(store)
    assert store.trust_certificates("gateway") == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "has no valid algorithm, auth, created"),
        (b"name = ", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"algorithm = 7\ncreated = 'x'\nauth = 'none'\n", "algorithm"),
        (b"algorithm = 'a'\ncreated = 'x'\nauth = 'none'\nrole = 'boss'\n", "role"),
        (b"x" * 100_000, "more than 65536"),
    ],
)
def test_a_damaged_record_is_told_and_the_identity_still_there(
    store: IdentityStore, content: bytes | None, problem: str
) -> None:
    made = _make(store)
    record = made.folder / "identity.toml"
    record.unlink() if content is None else record.write_bytes(content)
    found = store.all()[0]
    assert found.name == "gateway"
    assert found.key_pem == KEY
    assert problem in (found.problem or "")
    assert found.role is None
    store.save_request("gateway", b"request", "client")
    assert store.get("gateway").role == "client"


def test_a_lost_key_and_a_damaged_handle_are_told(store: IdentityStore) -> None:
    made = _make(store)
    (made.folder / "key.pem").unlink()
    assert "no key.pem" in (store.get("gateway").problem or "")
    with pytest.raises(ConsoleError, match="File not read"):
        _ = store.get("gateway").key_pem
    (made.folder / "key.handle").write_text("81?")
    assert "no handle" in (store.get("gateway").problem or "")
    for beside in (False, True):  # what a power cut leaves: the handle counts, damaged or not
        if beside:
            (made.folder / "key.pem").write_bytes(b"another key")
        with pytest.raises(ConsoleError, match="has no handle") as caught:
            _ = store.get("gateway").key_pem
        assert caught.value.title == "Identity damaged"


def test_the_record_is_toml_whatever_is_in_it() -> None:
    odd = Record("n", 'a"b\\c\n\x00\x7fü\U0001f512', "c", "none", "both")
    assert parse_record(format_record(odd), "n") == (odd, None)


def test_an_unwritable_folder_is_told_before_a_key_is_made(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(ConsoleError, match="Not written"):
        IdentityStore(tmp_path / "state" / "identities").reserve("gateway")


def test_leftovers_go_unless_somebody_is_at_them(store: IdentityStore) -> None:
    made = _make(store)
    theirs = {".profile.20260101", ".mozilla.disabled"}
    at_work = []
    for place in (store.root, made.folder):
        for which in ("left0000", "at0_work"):
            folder = place / f"{UNFINISHED}{which}"
            folder.mkdir()
            (folder / "key.pem").write_text("")
        (place / f"{UNFINISHED}abcd1234").write_text("")
        (place / ".profile.20260101").write_text("not ours")
        (place / ".mozilla.disabled").mkdir()
        at_work.append(os.open(place / f"{UNFINISHED}at0_work", os.O_RDONLY))
        fcntl.flock(at_work[-1], fcntl.LOCK_EX)
    _make(store, "other")
    store.save_request("gateway", b"request", "client")
    for place, descriptor in zip((store.root, made.folder), at_work, strict=True):
        assert {one.name for one in place.glob(".*")} == {f"{UNFINISHED}at0_work", *theirs}
        os.close(descriptor)


def test_a_folder_in_use_is_said(store: IdentityStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LOCK_S", 0.1)
    made = _make(store)
    descriptor = os.open(made.folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(ConsoleError, match="Identity is in use"):
            store.install("gateway", b"chain", b"trust")
        assert not made.has_certificate
    finally:
        os.close(descriptor)
    store.install("gateway", b"chain", b"trust")


def _race(root: Path, barrier: Barrier, number: int) -> None:
    barrier.wait()
    try:
        IdentityStore(root).create(
            "gateway", key_pem=b"%d" % number, handle=None, algorithm="ec-p256", auth="none"
        )
    except ConsoleError as error:
        os._exit(1 if error.title == "Name is taken" else 2)
    os._exit(0)


def test_of_several_processes_exactly_one_gets_the_name(store: IdentityStore) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(6)
    racers = [context.Process(target=_race, args=(store.root, barrier, n)) for n in range(6)]
    for one in racers:
        one.start()
    for one in racers:
        one.join(20)
    assert sorted(one.exitcode or 0 for one in racers) == [0, 1, 1, 1, 1, 1]
    winner = next(number for number, one in enumerate(racers) if one.exitcode == 0)
    assert store.get("gateway").key_pem == b"%d" % winner
    assert [one.name for one in store.root.iterdir()] == ["gateway"]
