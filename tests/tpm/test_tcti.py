"""Which TPM is chosen, and the error if no TPM is found."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.running import as_nobody, needs_root
from support.waiting import wait_until

from tpmconsole.cli.next_steps import say
from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.settings import Settings
from tpmconsole.system import dbus
from tpmconsole.system.environment import SEARCH_PATH
from tpmconsole.tpm import tcti as tcti_module
from tpmconsole.tpm.simulator import Simulator
from tpmconsole.tpm.simulator.programs import require_tcti, tcti_available
from tpmconsole.tpm.tcti import KNOWN_TCTIS, Places, choose, is_simulator_tcti

GROUP = 1  # any group but root's


@pytest.fixture
def nowhere(state: Path) -> Places:
    """Places of a board that has nothing."""
    return Places(state / "tpmrm0", state / "tpm0", state / "bus", state / "devices")


@pytest.fixture
def make(settings: Callable[..., Settings]) -> Callable[..., Settings]:
    def with_tcti(tcti: str | None = None) -> Settings:
        return settings(tcti=tcti, tcti_source="--tcti" if tcti is not None else "")

    return with_tcti


Make = Callable[..., Settings]


def refusal(settings: Settings, places: Places) -> ConsoleError:
    with pytest.raises(ConsoleError) as caught:
        choose(settings, places)
    return caught.value


def test_nothing_there_names_each_place(make: Make, nowhere: Places) -> None:
    error = refusal(make(), nowhere)
    assert error.exit_code is ExitCode.NO_TPM
    assert error.cause == (
        f"{nowhere.managed}: not there; tpm2-abrmd: there is no system bus; "
        f"{nowhere.raw}: not there"
    )
    assert "--simulate" in say(error.remedy)


def test_the_managed_device_comes_first(make: Make, nowhere: Places) -> None:
    null = Path("/dev/null")
    found = choose(make(), replace(nowhere, managed=null, raw=null))
    assert (found.tcti, found.why) == ("device:/dev/null", "/dev/null is there")
    assert not found.simulated


def test_the_raw_device_comes_last_and_says_why(make: Make, nowhere: Places) -> None:
    found = choose(make(), replace(nowhere, raw=Path("/dev/null")))
    assert found.tcti == "device:/dev/null"
    assert "not there" in found.why
    assert "tpm2-abrmd" in found.why


def test_a_chip_with_another_number_is_found(make: Make, nowhere: Places) -> None:
    for name in ("tpmrm10", "tpmrm2", "tpmrmx"):
        (nowhere.managed.parent / name).symlink_to("/dev/null")
    found = choose(make(), nowhere)
    assert found.tcti == f"device:{nowhere.managed.parent}/tpmrm2"


@pytest.mark.parametrize("driver", ["tpm", "tpmrm"])
def test_the_driver_tells_a_tpm(make: Make, nowhere: Places, driver: str) -> None:
    number = nowhere.devices / "1:3"  # of /dev/null
    number.mkdir(parents=True)
    (number / "subsystem").symlink_to(f"../class/{driver}")
    places = replace(nowhere, managed=Path("/dev/null"))
    assert choose(make(), places).tcti == "device:/dev/null"
    (number / "subsystem").unlink()
    (number / "subsystem").symlink_to("../class/mem")
    assert "/dev/null: it is a device, but not a TPM" in refusal(make(), places).cause


def make_file(path: Path) -> None:
    path.write_bytes(b"")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_below_a_file(path: Path) -> None:
    path.symlink_to(Path(__file__) / "tpm")


@pytest.mark.parametrize(
    ("create", "said"),
    [
        (make_file, "it is a file, not a device"),
        (Path.mkdir, "it is a folder, not a device"),
        (os.mkfifo, "it is a pipe, not a device"),
        (make_socket, "it is a socket, not a device"),
        (make_below_a_file, "Not a directory"),
    ],
)
def test_what_is_no_device(
    make: Make, nowhere: Places, create: Callable[[Path], None], said: str
) -> None:
    create(nowhere.managed)
    assert f"{nowhere.managed}: {said}" in refusal(make(), nowhere).cause
    asked = refusal(make(f"device:{nowhere.managed}"), nowhere)
    assert asked.cause == f"{nowhere.managed}: {said} (from --tcti)"
    assert asked.exit_code is ExitCode.NO_TPM
    assert "--simulate" in say(asked.remedy)


@needs_root
@pytest.mark.parametrize(
    ("group", "mode", "cause", "remedy"),
    [
        (GROUP, 0o660, "only its group {group} may open it", "sudo usermod -aG {group} nobody`"),
        (GROUP, 0o600, "only its owner may open it", "run as root"),
        (0, 0o660, "only its owner may open it", "run as root"),
    ],
)
def test_no_permission_says_which_group(
    nowhere: Places, group: int, mode: int, cause: str, remedy: str
) -> None:
    import grp

    os.mknod(nowhere.managed, 0o020000 | mode, os.makedev(1, 3))
    nowhere.managed.chmod(mode)
    os.chown(nowhere.managed, 0, group)
    nowhere.managed.parent.chmod(0o755)
    for tcti in (None, f"device:{nowhere.managed}"):
        answer = as_nobody(
            f"places = tcti.Places(*map(Path, {[str(p) for p in paths(nowhere)]!r}))\n"
            f"settings = Settings(Path('/nowhere'), tcti={tcti!r})\n"
            "try: tcti.choose(settings, places)\n"
            "except ConsoleError as error:\n"
            "    print(int(error.exit_code), error.cause, say(error.remedy))"
        )
        name = grp.getgrgid(group).gr_name
        assert answer.startswith(f"3 {nowhere.managed}: no permission, ")
        assert cause.format(group=name) in answer
        assert remedy.format(group=name) in answer
        assert "--simulate" in answer


def paths(places: Places) -> tuple[Path, ...]:
    return places.managed, places.raw, places.system_bus, places.devices


@pytest.mark.parametrize(
    "tcti",
    ["", " ", ":", "devise:/dev/tpm0", "/dev/tpm0", "pcap", "pcap:", "pcap:foo", "none", "Device",
     "libtss2-tcti-device.so.0", "swtpm:host=a\x00", "tabrmd:\x1b[2J"],
)  # fmt: skip
def test_what_is_no_tcti_never_gets_to_the_tss(make: Make, nowhere: Places, tcti: str) -> None:
    error = refusal(make(tcti), nowhere)
    assert error.title == "Unknown TCTI"
    assert error.exit_code is ExitCode.USAGE
    assert error.cause.isprintable()
    assert all(name in say(error.remedy) for name in KNOWN_TCTIS)


@pytest.mark.parametrize(
    ("tcti", "simulated"),
    [
        ("swtpm", True),
        ("swtpm:host=localhost,port=2321", True),
        ("mssim:host=localhost", True),
        ("pcap:mssim", True),
        ("tabrmd", False),
        ("tabrmd:bus_type=session", False),
        ("cmd:tpm2_send", False),
    ],
)
def test_what_is_asked_for_is_used(make: Make, nowhere: Places, tcti: str, simulated: bool) -> None:
    found = choose(make(f" {tcti}\n"), nowhere)
    assert (found.tcti, found.why, found.simulated) == (tcti, "--tcti", simulated)
    assert is_simulator_tcti(tcti) is simulated


def test_a_device_without_a_path_gets_one(make: Make, nowhere: Places) -> None:
    assert "not there" in refusal(make("device"), nowhere).cause
    places = replace(nowhere, raw=Path("/dev/null"))
    for tcti in ("device", "device:", "pcap:device"):
        assert choose(make(tcti), places).tcti.endswith("device:/dev/null")


def test_a_broker_s_bus_goes_with_it(
    make: Make, nowhere: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/somewhere")
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    found = choose(make("tabrmd:bus_type=session"), nowhere)
    assert found.environment == {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/somewhere"}
    assert choose(make("swtpm"), nowhere).environment == {}


def test_simulate_starts_the_simulator(
    settings: Callable[..., Settings], simulator: Simulator
) -> None:
    found = choose(settings(simulate=True, tcti="device:/dev/tpm0"))
    assert found.simulated
    assert simulator.status().running


def test_the_system_s_broker_is_found(
    make: Make, nowhere: Places, shared_simulator: Simulator
) -> None:
    places = replace(nowhere, system_bus=shared_simulator.folder / "bus")
    found = choose(make(), places)
    assert found.tcti == "tabrmd:bus_type=system"
    assert found.why.startswith("tpm2-abrmd is on the system bus")


def test_a_bus_without_the_broker(make: Make, nowhere: Places, simulator: Simulator) -> None:
    simulator.ensure()
    os.kill(simulator.pids["tpm2-abrmd"], signal.SIGKILL)
    places = replace(nowhere, system_bus=simulator.folder / "bus")
    address = places.system_bus
    absent = dbus.Presence.ABSENT
    wait_until(lambda: dbus.ask(address, dbus.TABRMD_NAME, timeout_s=3) is absent)
    assert "tpm2-abrmd: not running" in refusal(make(), places).cause


def listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0


@contextmanager
def guarded_bus(folder: Path) -> Iterator[Path]:
    """A bus on which nobody may send to its only program, the bus itself."""
    address = folder / "guarded"
    configuration = folder / "guarded.conf"
    rule = f'<deny send_destination="{dbus._BUS_NAME}" send_interface="{dbus._BUS_NAME}.Peer"/>'
    configuration.write_text(
        f"<busconfig><listen>unix:path={address}</listen><policy context='default'>"
        f"<allow send_destination='*'/><allow receive_sender='*'/>{rule}</policy></busconfig>"
    )
    program = shutil.which("dbus-daemon", path=SEARCH_PATH)
    arguments = [str(program), f"--config-file={configuration}", "--nofork", "--nopidfile"]
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as daemon:
        wait_until(lambda: listens(address))
        yield address
        daemon.terminate()


def test_a_broker_that_is_not_for_us(
    make: Make, nowhere: Places, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbus, "TABRMD_NAME", dbus._BUS_NAME)
    with guarded_bus(state) as address:
        error = refusal(make(), replace(nowhere, system_bus=address))
    assert "tpm2-abrmd: no permission" in error.cause
    assert "sudo usermod -aG tss" in say(error.remedy)


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"REJECTED EXTERNAL\r\n", b"OK 1\r\n", b"OK 1\r\n" + b"x" * 40, b"\xff" * 5000],
)
def test_what_is_no_bus(
    make: Make, nowhere: Places, state: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    monkeypatch.setattr(tcti_module, "_BUS_ANSWER_S", 0.05)
    address = state / "other"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(answer or b"")
                if answer is None:
                    client.recv(4096)
                    client.recv(4096)  # until the other side gives up

        server = threading.Thread(target=serve)
        server.start()
        error = refusal(make(), replace(nowhere, system_bus=address))
        server.join()
    assert "tpm2-abrmd: the system bus does not answer" in error.cause
    # The socket is left, with nobody behind it.
    error = refusal(make(), replace(nowhere, system_bus=address))
    assert "does not answer (Connection refused)" in error.cause


def test_a_missing_tcti_library_is_named() -> None:
    assert tcti_available("swtpm")
    assert tcti_available("tabrmd")
    assert not tcti_available("no-such")
    with pytest.raises(ConsoleError) as caught:
        require_tcti("no-such")
    assert caught.value.exit_code is ExitCode.NO_TPM
    assert "libtss2-tcti-no-such0" in say(caught.value.remedy)
