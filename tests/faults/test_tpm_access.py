"""A TPM that is not there, not ours, spoilt, slow, hung or dead, under a real console."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from faults import proxy
from faults.scene import ITSELF_S, Broker, Scene, Terminal
from support.running import as_nobody, needs_root

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.client import Tpm
from tpmconsole.tpm.model import Algorithm, Connection, KeyRef
from tpmconsole.tpm.signer import Signer
from tpmconsole.tpm.simulator import Simulator

Seen = Callable[[str], None]


def short(words: str) -> str:
    return words if len(words) < 150 else f"{words[:147]}..."


@pytest.mark.faults("absent", "NO TPM, exit 3; goes on when it is there")
def test_absent(scene: Scene, seen: Seen) -> None:
    scene.swtpm.kill()
    console = scene.console(ready="NO TPM")
    took = console.answers()
    words = scene.refuses(3, "status")
    assert "cannot be opened" in words
    scene.swtpm.start()
    console.itself("PASSED")
    assert "the TPM answers" in console.text
    seen(f"{short(words)}; key {took:.2f} s; went on")


@pytest.mark.faults("device absent", "exit 3; which one, and from where it was named")
def test_device_absent(scene: Scene, seen: Seen) -> None:
    words = scene.refuses(3, "status", tcti="device:/dev/tpm-none")
    assert "/dev/tpm-none: not there (from --tcti)" in words
    seen(words)


@needs_root
@pytest.mark.faults("no permission", "exit 3; names the group and the command that helps")
def test_no_permission(tmp_path: Path, seen: Seen) -> None:
    """The TPM's own device number (10:224) with the permissions of a udev rule."""
    device = Path(f"/dev/tpm-test-{os.getpid()}")
    try:
        os.mknod(device, 0o660 | stat.S_IFCHR, os.makedev(10, 224))
    except PermissionError:
        pytest.skip("this container may not make devices")
    try:
        os.chown(device, 0, 12)
        device.chmod(0o660)
        words = as_nobody(
            "try: tcti.choose(Settings(state=Path('/tmp'), "
            f"tcti='device:{device}', tcti_source='--tcti'))\n"
            "except ConsoleError as error: print(error, '; try:', error.remedy, error.exit_code)"
        )
    finally:
        device.unlink()
    assert "no permission, only its group man may open it" in words
    assert "sudo usermod -aG man nobody" in words
    assert words.endswith("3")
    seen(words)


@pytest.mark.faults("wrong TCTI", "exit 2; says which are known")
def test_wrong_tcti(scene: Scene, seen: Seen) -> None:
    words = scene.refuses(2, "status", tcti="tpm0")
    assert "device:/dev/tpmrm0" in words
    seen(short(words))


@pytest.mark.faults("a file as device", "exit 3; says that it is a file; not opened")
def test_a_file_as_device(scene: Scene, tmp_path: Path, seen: Seen) -> None:
    file = tmp_path / "tpm0"
    file.write_bytes(b"precious")
    words = scene.refuses(3, "status", tcti=f"device:{file}")
    assert "it is a file, not a device" in words
    assert file.read_bytes() == b"precious"
    seen(short(words))


def _shows(console: Terminal, text: str) -> bool:
    return text in console.text


@pytest.mark.faults("simulator", "marked on every page and in JSON")
def test_a_simulator_is_marked(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()
    for page in (b"2", b"3", b"4", b"5", b"1"):
        console.send(page)
        console.until(partial(_shows, console, f"[{page.decode()} "), ITSELF_S)
        assert "SIMULATED" in console.text.splitlines()[0]
    assert '"simulated": true' in scene.command("status", "--json").stdout
    seen("SIMULATED on all five, and in JSON")


@pytest.mark.faults("not started (0x100)", "started; nobody notices")
def test_not_started(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()
    scene.swtpm.kill()
    scene.swtpm.start(startup=False)
    console.key(b"t", "self-test PASSED")
    assert scene.proxy.commands[proxy.STARTUP] == 1
    seen("self-test PASSED after one TPM2_Startup")


@pytest.mark.faults("failure mode (0x101)", "red, with the result's bytes; all else says why not")
def test_failure_mode(scene: Scene, seen: Seen) -> None:
    tpm = Tpm(scene.swtpm.ensure, scene.folder / "log")
    pem = tpm.create(Algorithm.EC_P256)
    console = scene.healthy_console()
    scene.swtpm.break_its_memory()
    with pytest.raises(ConsoleError):
        tpm.persist(pem, 0x81000010)
    tpm.close()
    console.itself("FAILED")
    console.until("636578450000013400000003", ITSELF_S)
    took = console.answers()
    row = next(number for number, one in enumerate(console.text.splitlines()) if "FAILED" in one)
    column = console.text.splitlines()[row].index("FAILED")
    assert console.screen.buffer[row][column].fg == "red"
    words = scene.refuses(4, "create", "pump", "--algorithm", "ec-p256")
    assert "TPM in failure mode" in words
    assert scene.command("selftest").returncode == 1
    assert scene.left_on_disk() == []
    scene.swtpm.kill()
    (scene.folder / "gone").rename(scene.swtpm.state)
    scene.swtpm.start()
    console.itself("PASSED")
    seen(f"FAILED in red with bytes; create: {short(words)}; key {took:.2f} s; went on")


@pytest.mark.parametrize("code", [0x920, 0x922])
@pytest.mark.faults("busy for a while ({code:#x})", "asked again; the user sees only seconds")
def test_busy_for_a_while(scene: Scene, seen: Seen, code: int) -> None:
    console = scene.healthy_console()
    scene.proxy.spoil(proxy.answering(code, proxy.SELF_TEST, times=12))
    console.key(b"t", "running the full self-test ...")
    took = console.answers()
    console.itself("self-test PASSED")
    seen(f"self-test PASSED; key {took:.2f} s")


@pytest.mark.faults("busy for ever", "TPM busy, exit 4; goes on when it is not")
def test_busy_for_ever(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()
    scene.proxy.spoil(proxy.answering(0x922))
    console.itself("TPM busy")
    took = console.answers()
    words = scene.refuses(4, "status")
    assert "TPM busy" in words
    scene.proxy.mend()
    console.itself("PASSED")
    seen(f"{short(words)}; key {took:.2f} s; went on")


@pytest.mark.faults("NV rate limited (0x920)", "a key is persisted all the same, later")
def test_nv_rate(scene: Scene, seen: Seen) -> None:
    assert scene.command("create", "pump", "--algorithm", "ec-p256").returncode == 0
    scene.proxy.spoil(proxy.answering(0x920, proxy.EVICT_CONTROL, times=6))
    assert scene.command("persist", "pump", "0x81000010", "--yes").returncode == 0
    assert scene.proxy.commands[proxy.EVICT_CONTROL] == 7
    assert (scene.state / "identities/pump/key.handle").read_text().strip() == "0x81000010"
    scene.proxy.spoil(proxy.answering(0x920, proxy.EVICT_CONTROL))
    words = scene.refuses(4, "evict", "0x81000010", "--yes")
    assert "TPM busy" in words
    seen(f"persisted at the 7th try; for ever: {short(words)}")


@pytest.mark.faults("hung before the start", "opens, says so after 5 s, leaves < 2 s; goes on")
def test_hung_before_the_start(scene: Scene, seen: Seen) -> None:
    scene.swtpm.hang()
    console = scene.console(ready="asking the TPM")
    took = console.answers()
    console.itself("TPM does not answer")
    words = scene.refuses(3, "status")
    assert "no answer within 5 s" in words
    left = scene.console(ready="asking the TPM").leaves()
    scene.swtpm.go_on()
    console.itself("PASSED")
    seen(f"{short(words)}; key {took:.2f} s; left in {left:.1f} s; went on")


@pytest.mark.faults("hung in the middle", "seconds counted, deadline tells, leaves < 2 s")
def test_hung_in_the_middle(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()
    scene.proxy.hang(proxy.CREATE)
    console.create("pump")
    console.itself("making an EC P-256 key ... 2 s")
    took = console.answers()
    left = console.leaves()
    assert scene.left_on_disk() == []
    tpm = Tpm(
        lambda: Connection(scene.tcti, "the test's"), scene.folder / "log", deadlines={"ec": 0.5}
    )
    try:
        with pytest.raises(ConsoleError) as caught:
            tpm.create(Algorithm.EC_P256)
        scene.proxy.mend()
        assert tpm.create(Algorithm.EC_P256)
    finally:
        tpm.close()
    assert caught.value.cause == "no answer within 0.5 s while making an EC P-256 key"
    seen(f"{caught.value}; key {took:.2f} s; left in {left:.1f} s; nothing on disk; went on")


@pytest.mark.faults("slow (1.5 s a command)", "works; shows seconds; a key is made once")
def test_slow(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()
    scene.proxy.spoil(proxy.delayed(1.5))
    scene.proxy.commands.clear()
    console.create("pump")
    console.send(b"\r" * 4)
    console.itself("making an EC P-256 key ... 2 s")
    took = console.answers()
    console.until(lambda: "pump" in scene.left_on_disk(), 60)
    assert scene.proxy.commands[proxy.CREATE] == 1
    scene.proxy.mend()
    console.send(b"1")
    console.itself("PASSED")
    seen(f"one TPM2_Create, though return was pressed four times more; key {took:.2f} s")


@pytest.mark.faults("dies making a key", "named; nothing on disk; the same name works after")
def test_dying_in_the_middle_of_a_key_creation(scene: Scene, seen: Seen) -> None:
    console = scene.healthy_console()

    def die(command: bytes, pass_on: proxy.PassOn) -> bytes | None:
        if proxy.code_of(command) != proxy.CREATE:
            return pass_on(command)
        scene.swtpm.kill()
        return None

    scene.proxy.spoil(die)
    console.create("pump")
    console.itself("Enter Close")
    assert "No TPM reached" in console.text
    assert scene.left_on_disk() == []
    console.close_dialog("Enter Close")
    took = console.answers()
    scene.proxy.mend()
    scene.swtpm.start()
    console.key(b"1", "PASSED")
    console.create("pump")
    console.until(lambda: scene.left_on_disk() == ["pump"], ITSELF_S)
    assert scene.command("keys", "--prove").returncode == 0
    seen(f"No TPM reached; nothing on disk; key {took:.2f} s; made after")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut_off", "connection broke"),
        ("truncated", "connection broke"),
        ("garbled", "does not speak"),
        ("garbled_body", "cannot be decoded"),
        ("zero_filled", "does not speak"),
        ("huge", "does not speak"),
    ],
)
@pytest.mark.faults("answers {how}", "NO TPM: {words}; exit 3; goes on")
def test_spoilt_answers(scene: Scene, seen: Seen, how: str, words: str) -> None:
    console = scene.healthy_console()
    scene.proxy.spoil(getattr(proxy, how))
    console.itself("NO TPM")
    took = console.answers()
    told = scene.refuses(3, "status")
    assert words in told
    scene.proxy.mend()
    console.itself("PASSED")
    seen(f"{short(told)}; key {took:.2f} s; went on")


@pytest.fixture
def broker(scene: Scene) -> Iterator[Broker]:
    one = Broker(scene.folder, scene.proxy, connections=3)
    scene.tcti = "tabrmd:bus_type=session"
    scene.shell.environment |= one.environment
    yield one
    one.close()


@pytest.mark.faults("resource manager killed", "NO TPM, exit 3; goes on when it is back")
def test_a_killed_resource_manager(scene: Scene, broker: Broker, seen: Seen) -> None:
    console = scene.healthy_console(**broker.environment)
    broker.kill()
    console.itself("NO TPM")
    took = console.answers()
    words = scene.refuses(3, "status")
    assert "tpm2-abrmd" in words
    broker.start()
    console.itself("PASSED")
    seen(f"{short(words)}; key {took:.2f} s; went on")


@pytest.mark.faults("spoilt behind abrmd", "NO TPM; goes on when it is well")
def test_a_spoilt_tpm_behind_a_resource_manager(scene: Scene, broker: Broker, seen: Seen) -> None:
    console = scene.healthy_console(**broker.environment)
    scene.proxy.hang()
    console.itself("TPM does not answer")
    took = console.answers()
    scene.proxy.mend()
    console.itself("PASSED")
    seen(f"TPM does not answer; key {took:.2f} s; went on")


@pytest.fixture
def signers(scene: Scene) -> Iterator[Callable[[Callable[[], Connection]], list[Signer]]]:
    """Makes two that hold a key each, as sessions do."""
    with ExitStack() as stack:

        def make(connect: Callable[[], Connection]) -> list[Signer]:
            tpm = Tpm(connect, scene.folder / "log")
            source = KeyRef(tpm.create(Algorithm.EC_P256))
            tpm.close()
            return [
                stack.enter_context(Signer(connect, source, log=scene.folder / "log"))
                for _ in range(2)
            ]

        yield make


def sign(signer: Signer) -> bytes:
    return signer.sign(bytes(32), "sha256", "ecdsa")


@pytest.mark.faults("TPM reset behind abrmd", "No room (0x902): restart tpm2-abrmd; then goes on")
def test_a_tpm_that_was_away_from_its_resource_manager(
    scene: Scene, broker: Broker, signers: Callable[..., list[Signer]], seen: Seen
) -> None:
    """tpm2-abrmd 3.0 has flushed nothing meanwhile, and has no room for what it thinks it has."""
    connection = Connection(scene.tcti, "the test's", environment=broker.environment)
    held = signers(lambda: connection)
    scene.swtpm.kill()
    with pytest.raises(ConsoleError):
        sign(held[0])
    scene.swtpm.start()
    sign(held[0])
    words = scene.refuses(4, "create", "pump", "--algorithm", "ec-p256")
    assert "restart tpm2-abrmd" in words
    assert scene.left_on_disk() == []
    broker.kill()
    broker.start()
    assert scene.command("create", "pump", "--algorithm", "ec-p256").returncode == 0
    assert all(sign(one) for one in held)
    seen(f"{words}; went on")


@pytest.mark.faults("simulator's TPM killed", "it and its tpm2-abrmd are replaced; keys sign on")
def test_a_killed_simulated_tpm(
    scene: Scene, signers: Callable[..., list[Signer]], seen: Seen
) -> None:
    simulator = Simulator(scene.state / "simulator")
    try:
        console = scene.console("--simulate", ready="PASSED")
        held = signers(simulator.ensure)
        before = simulator.pids
        os.kill(before["swtpm"], signal.SIGKILL)
        console.itself("PASSED")
        took = console.answers()
        assert all(sign(one) for one in held)
        console.create("pump")
        console.itself("pump: key made")
        after = simulator.pids
        assert {name for name in before if before[name] != after[name]} == {"swtpm", "tpm2-abrmd"}
        seen(f"both keys signed, and a third was made; key {took:.2f} s")
    finally:
        for terminal in scene.terminals:
            terminal.close()
        simulator.stop()


@pytest.mark.faults("out of connections", "says too many connections; goes on when one is free")
def test_out_of_connections(scene: Scene, broker: Broker, seen: Seen) -> None:
    connection = Connection(scene.tcti, "the test's", environment=broker.environment)
    others = [Tpm(lambda: connection, scene.folder / "log") for _ in range(3)]
    try:
        for one in others:
            one.health()
        console = scene.console(ready="NO TPM", **broker.environment)
        took = console.answers()
        words = scene.refuses(3, "status")
        assert "too many connections" in words
        others.pop().close()
        console.itself("PASSED")
    finally:
        for one in others:
            one.close()
    seen(f"{short(words)}; key {took:.2f} s; went on")
