"""A TPM without room, a disk without space, no descriptors left, a clock that lost its battery."""

from __future__ import annotations

import contextlib
import fcntl
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from faults import proxy
from faults.certify import certify
from faults.scene import ITSELF_S, Scene
from support.running import needs_root
from support.waiting import wait_until
from tpm2_pytss import ESAPI, ESYS_TR, TPM2_ALG, TPM2_CAP, TPM2_SE, TPMT_SYM_DEF

from tpmconsole.system.files import UNFINISHED
from tpmconsole.system.processes import PROC

Seen = Callable[[str], None]
TRANSIENT, SESSIONS = 0x80000000, 0x02000000


def handles(scene: Scene, first: int) -> list[int]:
    """The handles in use in the TPM, past the proxy."""
    with ESAPI(scene.swtpm.connection.tcti) as tpm:
        # Kept in a variable: the list is freed with it.
        _, data = tpm.get_capability(TPM2_CAP.HANDLES, first, 16)
        return [int(one) for one in data.data.handles]


@pytest.mark.faults("no transient slot", "No room, exit 4; others' keys stay; goes on")
def test_no_transient_slot(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()
    with ESAPI(scene.swtpm.connection.tcti) as other:
        keys = [other.create_primary(None)[0] for _ in range(3)]
        console.create("pump")
        console.itself("Enter Close")
        assert "No room in the TPM" in console.text
        console.close_dialog("Enter Close")
        took = console.answers()
        words = scene.refuses(4, "create", "pump", "--algorithm", "ec-p256")
        assert "places for loaded keys" in words
        assert len(handles(scene, TRANSIENT)) == 3
        assert scene.left_on_disk() == []
        for key in keys:
            other.flush_context(key)
    console.create("pump")
    console.until(lambda: scene.left_on_disk() == ["pump"], ITSELF_S)
    seen(f"{words}; all three of another program are still there; key {took:.2f} s; went on")


@pytest.mark.faults("no session slot", "signs, which needs none; a new key is refused")
def test_no_session_slot(scene: Scene, seen: Seen) -> None:
    assert scene.command("create", "pump", "--algorithm", "ec-p256").returncode == 0
    with ESAPI(scene.swtpm.connection.tcti) as other:
        symmetric = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
        begun = [
            other.start_auth_session(
                ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.HMAC, symmetric, TPM2_ALG.SHA256
            )
            for _ in range(3)
        ]
        assert scene.command("request", "pump", "--subject", "CN=pump").returncode == 0
        # A key is made in an encrypted session, so that nobody on the bus learns its password.
        assert "places for sessions" in scene.refuses(4, "create", "other")
        assert len(handles(scene, SESSIONS)) == 3
        scene.proxy.spoil(proxy.answering(0x903, proxy.SIGN))
        words = scene.refuses(4, "request", "pump", "--subject", "CN=pump")
        assert "places for sessions" in words
        for one in begun:
            other.flush_context(one)
    seen(f"signed with none free; asked for one: {words}")


@pytest.mark.faults("no persistent room", "No room, exit 4; the key stays a file")
def test_no_persistent_room(scene: Scene, seen: Seen) -> None:
    assert scene.command("create", "pump", "--algorithm", "ec-p256").returncode == 0
    scene.proxy.spoil(proxy.answering(0x14B, proxy.EVICT_CONTROL))
    words = scene.refuses(4, "persist", "pump", "0x81000010", "--yes")
    assert "memory for persistent keys is full" in words
    folder = scene.state / "identities/pump"
    assert not (folder / "key.handle").exists()
    assert (folder / "key.pem").stat().st_size
    scene.proxy.mend()
    assert scene.command("persist", "pump", "0x81000010", "--yes").returncode == 0
    seen(f"{words}; key.pem stayed; went on")


@pytest.fixture
def small_disk(scene: Scene) -> Iterator[Path]:
    """A state directory on a disk of its own with 400 kB."""
    scene.state.mkdir(mode=0o700)
    mount = ["/usr/bin/mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "tmpfs", str(scene.state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount")
    yield scene.state
    # A console of the scene may still have its log open.
    subprocess.run(["/usr/bin/umount", "-l", str(scene.state)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


@needs_root
@pytest.mark.faults("disk full", "Not written, with the remedy; nothing half written; goes on")
def test_a_full_disk(scene: Scene, small_disk: Path, seen: Seen) -> None:
    assert scene.command("create", "old", "--algorithm", "ec-p256").returncode == 0
    console = scene.healthy_console()
    filler = fill(small_disk)
    console.create("pump")
    console.itself("Enter Close")
    assert "space left on device" in console.text
    console.close_dialog("Enter Close")
    took = console.answers()
    assert "Traceback" not in console.output.decode()
    assert scene.command("status").returncode == 0
    words = scene.refuses(1, "create", "pump", "--algorithm", "ec-p256")
    assert "free some space" in words
    assert scene.left_on_disk() == ["old"]
    filler.unlink()
    console.create("pump")
    console.until(lambda: scene.left_on_disk() == ["old", "pump"], ITSELF_S)
    seen(f"{words}; old identity whole; status still answers; key {took:.2f} s; went on")


@needs_root
@pytest.mark.faults("read-only disk", "opens; Not written says why; nothing lost; goes on")
def test_a_read_only_disk(scene: Scene, small_disk: Path, seen: Seen) -> None:
    assert scene.command("create", "old", "--algorithm", "ec-p256").returncode == 0
    remount(small_disk, "ro")
    console = scene.healthy_console()
    console.key(b"2", "WHERE")
    console.until(lambda: "old/key.pem" in console.text, ITSELF_S)
    console.create("pump")
    console.itself("Read-only file system")
    console.close_dialog("New key in the TPM")
    took = console.answers()
    words = scene.refuses(1, "request", "old", "--subject", "CN=old")
    assert "remount,rw" in words
    assert scene.command("status").returncode == 0
    assert "Traceback" not in console.output.decode()
    remount(small_disk, "rw")
    console.create("pump")
    console.until(lambda: scene.left_on_disk() == ["old", "pump"], ITSELF_S)
    seen(f"{words}; key {took:.2f} s; went on")


def remount(disk: Path, how: str) -> None:
    def done() -> bool:
        """Busy for as long as somebody has a file open for writing there."""
        command = ["/usr/bin/mount", "-o", f"remount,{how}", str(disk)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    wait_until(done, f"remounting {how}")


@pytest.mark.faults("no file descriptors", "named, with the limit's remedy; goes on")
def test_no_file_descriptors(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()
    _, hard = resource.prlimit(console.pid, resource.RLIMIT_NOFILE)
    used = max(int(one.name) for one in (PROC / str(console.pid) / "fd").iterdir()) + 1
    resource.prlimit(console.pid, resource.RLIMIT_NOFILE, (3, hard))
    for worker in psutil.Process(console.pid).children():
        worker.kill()
    console.itself("Too many open files")
    # Nothing that a page's or a dialog's module needs can be opened either.
    for key in (b"3", b"5"):
        console.send(key)
        console.settle(0.3)
        console.send(b"\x1b")
        console.settle(0.3)
    assert not console.ended()
    resource.prlimit(console.pid, resource.RLIMIT_NOFILE, (used + 200, hard))
    console.send(b"1")
    console.itself("PASSED")
    took = console.answers()
    console.key(b"5", "PROBE")
    seen(f"Too many open files; key {took:.2f} s; went on")


@pytest.mark.faults("killed while it wrote", "leftovers go at the next start; others' work stays")
def test_leftovers_go_at_the_next_start(scene: Scene, seen: Seen) -> None:
    session = scene.state / "sessions/server-1"
    folders = [scene.state, scene.state / "identities/pump", session, session / "state"]
    left = []
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        left.append(folder / f"{UNFINISHED}a1b2c3d4")
    unfinished = scene.state / f"identities/{UNFINISHED}e5f6a7b8"
    unfinished.mkdir()
    left += [unfinished / "key.pem", scene.state / f"identities/{UNFINISHED}at_work0"]
    for path in left:
        path.write_text("half")
    with ExitStack() as stack:
        at_work = stack.enter_context(left[-1].open("rb"))
        fcntl.flock(at_work, fcntl.LOCK_EX)
        scene.healthy_console()
        wait_until(lambda: not any(path.exists() for path in left[:-1]), "cleaning up")
        assert left[-1].exists()
    seen("all gone but the one that was being written")


@pytest.fixture
def dead_clock(tmp_path: Path) -> dict[str, str]:
    """The environment of a program on a board whose clock starts at 1970."""
    library = tmp_path / "dead_clock.so"
    source = Path(__file__).with_name("dead_clock.c")
    command = ["/usr/bin/gcc", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.mark.faults("clock at 1970", "said on the Overview; dates are not judged by it")
def test_a_clock_at_1970(scene: Scene, dead_clock: dict[str, str], seen: Seen) -> None:
    scene.tcti = scene.swtpm.connection.tcti
    assert scene.command("create", "pump", "--algorithm", "ec-p256").returncode == 0
    assert scene.command("request", "pump", "--subject", "CN=pump").returncode == 0
    certify(scene, "pump")
    console = scene.healthy_console(**dead_clock)
    console.itself("1970")
    assert "not plausible" in console.text
    clock = re.findall(r".*not plausible.*", console.text)
    took = console.answers()
    left = console.leaves()
    scene.shell.environment |= dead_clock
    done = scene.command("import", "pump", str(scene.folder / "pump.pem"), "--check")
    assert "clock not plausible" in done.stdout
    assert "not valid before" not in done.stdout
    words = " ".join(clock[0].split())
    seen(f"{words}; key {took:.2f} s; left in {left:.1f} s; import --check says the same")
