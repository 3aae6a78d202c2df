"""Runs the board: QEMU with Debian's kernel, swtpm as its TPM chip, its serial port on a socket."""

from __future__ import annotations

import base64
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from emulated.build import Disk, make_disk
from emulated.line import PATIENCE_S

CPU, KVM = Path("/proc/cpuinfo"), Path("/dev/kvm")
# An older processor, without wide vectors, costs a quarter less to emulate than QEMU's maximum.
EMULATED_CPU = "Nehalem,rdrand=on"
HOME_MB = 96
MEMORY_MB = 1024
_HELD_BACK_S, _LET_GO_S = 0.045, 0.005
# Mitigations of real processors are expensive on an emulated one.
_KERNEL = "console=ttyS0,115200 root=/dev/vda rw mitigations=off lsm=yama"
_KERNEL += " quiet loglevel=3 systemd.show_status=false"
# Unneeded on a board that runs for minutes, on a temporary disk.
_MASKED = (
    *("systemd-timesyncd.service", "systemd-journal-flush.service", "systemd-binfmt.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "modprobe@drm.service"),
    *("modprobe@configfs.service", "modprobe@fuse.service", "modprobe@efi_pstore.service"),
)
_PATH = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent", "TMPDIR": "/tmp"}


class CommandFailed(AssertionError):
    """A command on the board ended with a code other than 0."""


class Machine:
    """One board. What it writes below /home stays in its folder, and so does the chip's memory.

    Args:
        disk: the image it boots from; only read.
        folder: for ``home.img``, the chip's memory and the logs; a short path, for it has a socket.

    Attributes:
        line: our end of the serial port.
        booted: ``time.monotonic()`` when it was switched on.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self.disk = disk
        self.folder = folder
        self.booted = 0.0
        self.line: socket.socket
        self._hands: socket.socket
        self._running = ExitStack()
        self._qemu: subprocess.Popen[bytes] | None = None
        self._chip: subprocess.Popen[bytes] | None = None

    def switch_on(self) -> None:
        """Start the chip and the machine; does not wait for it to boot."""
        (self.folder / "tpm").mkdir(parents=True, exist_ok=True)
        home = self.folder / "home.img"
        if not home.exists():
            make_disk(home, HOME_MB)
        chip = self.folder / "chip"
        chip.unlink(missing_ok=True)
        self.booted = time.monotonic()
        self._start_chip(chip)
        self.line, line = self._pair(narrow=True)
        self._hands, hands = self._pair()
        with line, hands:
            self._qemu = self._start(
                self._command(home, chip, line.fileno(), hands.fileno()),
                "qemu.log",
                (line.fileno(), hands.fileno()),
            )

    def _pair(self, *, narrow: bool = False) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection, ours first; a narrow one has almost no buffer, as a UART."""
        ours, theirs = socket.socketpair()
        self._running.callback(ours.close)
        if narrow:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        return ours, theirs

    def _start_chip(self, address: Path) -> None:
        self._chip = self._start(
            [
                *("swtpm", "socket", "--tpm2", "--terminate"),
                *("--tpmstate", f"dir={(self.folder / 'tpm').absolute()}"),
                *("--ctrl", f"type=unixio,path={address}"),
            ],
            "swtpm.log",
        )
        deadline = time.monotonic() + 10
        while not address.is_socket():
            if time.monotonic() > deadline:
                raise TimeoutError((self.folder / "swtpm.log").read_text())
            time.sleep(0.01)

    def _start(
        self, command: list[str], log: str, descriptors: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("wb") as output:
            process = subprocess.Popen(
                command,
                env=_PATH,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                start_new_session=True,
            )
        self._running.callback(_end, process)
        return process

    def _command(self, home: Path, chip: Path, line: int, hands: int) -> list[str]:
        accelerator = chosen_accelerator()
        masked = " ".join(f"systemd.mask={unit}" for unit in _MASKED)
        return [
            *("qemu-system-x86_64", "-M", f"q35,accel={accelerator},sata=off,smbus=off"),
            *("-cpu", "max" if "kvm" in accelerator else EMULATED_CPU),
            *("-smp", "2", "-m", str(MEMORY_MB), "-nodefaults", "-no-user-config"),
            *("-display", "none", "-rtc", "base=utc"),
            *("-kernel", str(self.disk.kernel), "-initrd", str(self.disk.initrd)),
            *("-append", f"{_KERNEL} {masked}"),
            *("-drive", f"file={self.disk.image},if=virtio,format=raw,snapshot=on"),
            # Data that the board has not flushed is in its own memory: lost when QEMU is killed.
            *("-drive", f"file={home},if=virtio,format=raw,cache=unsafe"),
            *("-chardev", f"socket,id=line,fd={line}", "-serial", "chardev:line"),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=hands,fd={hands}"),
            *("-device", "virtserialport,chardev=hands,name=hands"),
            *("-chardev", f"socket,id=chip,path={chip}"),
            *("-tpmdev", "emulator,id=tpm0,chardev=chip", "-device", "tpm-tis,tpmdev=tpm0"),
        ]

    def root(self, command: str, seconds: float = PATIENCE_S) -> str:
        """Run a shell command on the board as root; return what it wrote.

        Raises:
            CommandFailed: it ended with a code other than 0.
            TimeoutError: no answer in time.
        """
        self._hands.sendall(base64.b64encode(command.encode()) + b"\n")
        deadline = time.monotonic() + seconds
        answer = b""
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._hands], [], [], left)[0]:
                raise TimeoutError(f"no answer within {seconds:g} s: {command}")
            if not (data := self._hands.recv(65536)):
                raise TimeoutError(f"the board is off: {command}")
            answer += data
        code, _, text = answer.decode().strip().partition(" ")
        output = base64.b64decode(text).decode(errors="replace")
        if code != "0":
            raise CommandFailed(f"{command}: ended with {code}\n{output}")
        return output

    def as_user(self, command: str, user: str = "technician", seconds: float = PATIENCE_S) -> str:
        """Run a shell command as a user who has just logged in; return what it wrote.

        Raises:
            CommandFailed: it ended with a code other than 0.
            TimeoutError: no answer in time.
        """
        quoted = command.replace("'", "'\\''")
        return self.root(f"runuser -l {user} -c '{quoted}'", seconds)

    @property
    def running(self) -> bool:
        """Whether QEMU runs."""
        return self._qemu is not None and self._qemu.poll() is None

    @contextmanager
    def slow_chip(self) -> Iterator[None]:
        """A chip with a tenth of its speed.

        It is never stopped for long: the kernel cancels a command that takes too long, and QEMU
        waits for a stopped chip's answer to that with the whole machine.
        """
        assert self._chip is not None
        chip, over = self._chip, threading.Event()

        def hold_back() -> None:
            while not over.is_set():
                chip.send_signal(signal.SIGSTOP)
                over.wait(_HELD_BACK_S)
                chip.send_signal(signal.SIGCONT)
                over.wait(_LET_GO_S)

        thread = threading.Thread(target=hold_back)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def memory_mb(self) -> float:
        """The memory in use according to the board's kernel, in MB."""
        facts = dict(line.split(":") for line in self.root("cat /proc/meminfo").splitlines())
        used = int(facts["MemTotal"].split()[0]) - int(facts["MemAvailable"].split()[0])
        return used / 1024

    def cut_power(self) -> None:
        """Kill it: data that is not on its disk is lost."""
        self._running.close()
        self._running = ExitStack()
        self._qemu = None

    def switch_off(self) -> None:
        """Let it write its data to the disk, then kill it."""
        if self.running:
            # A board that does not answer is switched off anyway.
            with suppress(OSError, TimeoutError, CommandFailed):
                self.root("sync", 20)
        self.cut_power()


def chosen_accelerator() -> str:
    """What runs the board's instructions: the processor if it can, else QEMU.

    /dev/kvm may exist although the processor cannot: it is then itself emulated, runs no kernel
    except its own, and does not fail when QEMU starts. BOARD_ACCELERATOR overrides this.
    """
    can = {"vmx", "svm"} & set(CPU.read_text().split()) and os.access(KVM, os.R_OK | os.W_OK)
    return os.environ.get("BOARD_ACCELERATOR", "kvm:tcg" if can else "tcg")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
