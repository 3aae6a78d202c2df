"""Random faults against a console that random keys drive, and a session that talks all the while.

``python -m faults.chaos [--seconds 600] [--seed N]``: after every fault the console has to
answer keys, see its TPM again by itself, and hold no more descriptors and processes than before;
the session has to talk again; at the end the identity has to be whole. Says what happened.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from faults import proxy
from faults.certify import certify
from faults.scene import ESCAPE, Broker, Scene, Terminal, scene
from support.waiting import wait_until

from tpmconsole.ui.preload import AFTER_S

# All but those that leave (q, ^C, F10), say yes (y), take another TPM (s) or write elsewhere (w).
KEYS = [bytes([letter]) for letter in b"12345tircnupevdx? \r\r\t\x7f\x0cabz09./"]
HOME = b"\x1b[H"
KEYS += [b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[5~", b"\x1b[6~", ESCAPE, ESCAPE]
KEY_PAUSE_S = 0.05
SUBJECT = ("--subject", "CN=gate", "--san", "dns:localhost", "--role", "both")
LOG_SHOWN = 6000  # characters, where something did not hold
AGAIN_S = 100.0  # for everything to be well again after a fault
CODES = (0x100, 0x101, 0x902, 0x903, 0x904, 0x908, 0x90A, 0x920, 0x922, 0x923, 0x18B, 0x9A2)
SPOILT = ("cut_off", "truncated", "garbled", "garbled_body", "zero_filled", "empty", "huge")


class Chaos:
    """One scene, one console, one client and one server that talk.

    Args:
        stage: the scene.
        broker: its resource manager.
        chance: where everything random comes from.
        only: these faults; all where none is named.
    """

    def __init__(
        self, stage: Scene, broker: Broker, chance: random.Random, only: Sequence[str] = ()
    ) -> None:
        self.scene = stage
        self.broker = broker
        self.chance = chance
        self.done: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.keys = 0
        self.slowest = 0.0
        self.key_file = stage.state / "identities/gate/key.pem"
        self.faults: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
            "slow": lambda: self._spoilt(proxy.delayed(chance.uniform(0.1, 1.0))),
            "hung": self._hung,
            "spoilt": lambda: self._spoilt(getattr(proxy, chance.choice(SPOILT))),
            "refusing": lambda: self._spoilt(proxy.answering(chance.choice(CODES))),
            "refusing a while": lambda: self._spoilt(
                proxy.answering(chance.choice(CODES), times=chance.randint(1, 20))
            ),
            "swtpm killed": self._swtpm_killed,
            "swtpm stopped": lambda: self._stopped(self.scene.swtpm.pid),
            "manager killed": self._manager_killed,
            "manager stopped": lambda: self._stopped(self.broker.pid),
            "worker killed": self._worker_killed,
            "worker stopped": self._worker_stopped,
            "disk full": self._disk_full,
            "disk read-only": self._disk_read_only,
            "no descriptors": self._no_descriptors,
            "others": self._others,
        }
        self.names = [name for name in self.faults if not only or name in only]

    # What is broken

    @contextmanager
    def _spoilt(self, fault: proxy.Fault) -> Iterator[None]:
        self.scene.proxy.spoil(fault)
        yield
        self.scene.proxy.mend()

    @contextmanager
    def _hung(self) -> Iterator[None]:
        self.scene.proxy.hang()
        yield
        self.scene.proxy.mend()

    @contextmanager
    def _swtpm_killed(self) -> Iterator[None]:
        """A reset TPM: tpm2-abrmd 3.0 gives nobody room any more until it is started again, too."""
        self.scene.swtpm.kill()
        yield
        self.scene.swtpm.start(startup=self.chance.random() < 0.7)
        self.broker.kill()
        self.broker.start()

    @contextmanager
    def _manager_killed(self) -> Iterator[None]:
        self.broker.kill()
        yield
        self.broker.start()

    @contextmanager
    def _stopped(self, *pids: int) -> Iterator[None]:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # killed for not answering
                os.kill(pid, signal.SIGCONT)

    def _worker_stopped(self) -> contextlib.AbstractContextManager[object]:
        return self._stopped(*(one.pid for one in self.workers()))

    @contextmanager
    def _worker_killed(self) -> Iterator[None]:
        for one in self.workers():
            one.kill()
        yield

    @contextmanager
    def _disk_full(self) -> Iterator[None]:
        filler = self.scene.state / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
        filler.unlink()

    @contextmanager
    def _disk_read_only(self) -> Iterator[None]:
        done = self._mount("-o", "remount,ro")  # refused while somebody has a file open to write
        yield
        if done:
            wait_until(lambda: self._mount("-o", "remount,rw"), "remounting")

    def _mount(self, *options: str) -> bool:
        command = ["/usr/bin/mount", *options, str(self.scene.state)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    @contextmanager
    def _no_descriptors(self) -> Iterator[None]:
        limits = resource.prlimit(self.console.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.console.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        yield
        resource.prlimit(self.console.pid, resource.RLIMIT_NOFILE, limits)

    @contextmanager
    def _others(self) -> Iterator[None]:
        """Scripts at the same time."""
        commands = (["status"], ["keys"], ["request", "gate", "--subject", "CN=gate"], ["doctor"])
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "tpmconsole", "--state", str(self.scene.state), *one],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self.scene.shell.environment | {"TPMCONSOLE_TCTI": self.scene.tcti},
            )
            for one in commands
        ]
        yield
        for one in started:
            assert one.wait(60) in range(6)

    # What is looked at

    def workers(self) -> list[psutil.Process]:
        """The console's child processes, without sessions that random keys have started."""
        children = psutil.Process(self.console.pid).children()
        return [one for one in children if "tpmconsole.session" not in " ".join(_command(one))]

    def end_other_sessions(self) -> None:
        """End the sessions that random keys have started."""
        listed = json.loads(self.scene.command("session", "list", "--json").stdout)["sessions"]
        for one in listed:
            if one["id"] not in self.sessions.values() and one["state"] == "running":
                self.scene.command("session", "stop", one["id"])

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.console.pid}/fd").iterdir()))

    def open_console(self) -> None:
        self.console: Terminal = self.scene.healthy_console(**self.broker.environment)
        self.console.key(b"5", "PROBE")
        self.console.settle(AFTER_S + 3)  # until all is imported that it may need
        self.well()
        self.most = self.descriptors() + 12  # pages and dialogs come and go

    def start_sessions(self) -> None:
        server = self._json(
            "session", "start", "server", "gate", "--listen", "localhost:0", "--if-missing"
        )
        self.address = f"localhost:{server['address'].rpartition(':')[2]}"
        client = self._client("--interval", "0.5")
        self.sessions = {"server": server["id"], "client": client["id"]}

    def _client(self, *options: str) -> dict[str, Any]:
        connect = ("--connect", self.address, "--protocol", "line")
        return self._json("session", "start", "client", "gate", *connect, *options)

    def _json(self, *arguments: str) -> dict[str, Any]:
        done = self.scene.command(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def press(self, seconds: float) -> None:
        """Random keys for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.console.send(self.chance.choice(KEYS))
            self.keys += 1
            self.console.pump(KEY_PAUSE_S)
            assert not self.console.ended(), self.console.text

    def well(self) -> None:
        """Wait until the console is idle on its first page and has seen the TPM well."""

        def calm() -> bool:
            self.console.send(ESCAPE)
            self.console.settle(0.2)
            self.console.send(b"1" + HOME)  # random keys may have scrolled it
            self.console.settle(0.2)
            return "[1 Overview]" in self.console.text and "PASSED" in self.console.text

        self.console.until(calm, AGAIN_S)

    def restore(self) -> None:
        """The first certificate again: keys may have had another made, for another role."""
        folder = self.scene.folder
        trust = ("--trust", str(folder / "trust.pem"), "--role", "both")
        if self._json("import", "gate", str(folder / "gate.pem"), *trust)["changed"]:
            self.restarts["another certificate"] += 1
            self.scene.command("session", "reload", self.sessions["server"])

    def talking(self) -> None:
        """Wait until the client has another message; one that gave up is started again."""
        for role, session in list(self.sessions.items()):
            facts = self._json("session", "show", session)
            if facts["state"] in ("stopped", "failed"):
                error = facts["last_error"]
                assert error or facts["state"] == "stopped", facts
                words = error["title"] if isinstance(error, dict) else error or "stopped by a key"
                self.restarts[f"{role}: {words}"] += 1
                self.start_sessions()
                break
        before = self._json("session", "show", self.sessions["client"])["messages"]
        wait_until(
            lambda: self._json("session", "show", self.sessions["client"])["messages"] > before,
            f"{self._json('session', 'show', self.sessions['client'])}",
            seconds=AGAIN_S,
        )
        # The server's key and the client's sign again, too.
        try:
            wait_until(self._one_message, "a client's one message", seconds=AGAIN_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; so far: {dict(self.restarts)}") from error

    def _one_message(self) -> bool:
        """Let a new client say one message; whether it could."""
        connect = ("--connect", self.address, "--protocol", "line", "--count", "1")
        done = self.scene.command("session", "start", "client", "gate", *connect, "--json")
        answer = json.loads(done.stdout)
        if done.returncode:
            self.restarts[f"a new client: {answer['error']['title']}"] += 1
            return False
        one = answer["id"]
        wait_until(lambda: self._json("session", "show", one)["messages"] == 1, f"one of {one}")
        return True

    def round(self, name: str) -> None:
        """One fault, and everything well again."""
        with self.faults[name]():
            self.press(self.chance.uniform(0.5, 7.0))
            for _ in range(4):
                self.console.send(ESCAPE)
                self.console.settle(0.15)
            self.slowest = max(self.slowest, self.console.answers())
        self.done[name] += 1
        # An answer without sense makes tpm2-abrmd end, or useless: do what the remedy says.
        told = self.scene.command("status").stderr
        if "restart tpm2-abrmd" in told or "start tpm2-abrmd" in told:
            self.restarts["tpm2-abrmd"] += 1
            self.broker.kill()
            self.broker.start()
        self.well()
        self.slowest = max(self.slowest, self.console.answers())
        self.end_other_sessions()
        self.restore()
        self.talking()
        wait_until(
            lambda: len(self.workers()) <= 1,
            f"children: {[_command(one) for one in self.workers()]}",
            seconds=30,
        )
        wait_until(lambda: self.descriptors() <= self.most, f"descriptors: {self.descriptors()}")


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # it has ended
        return []


def run(seconds: float, seed: int, only: Sequence[str], say: Callable[[str], None]) -> None:
    """Do it.

    Raises:
        AssertionError: something did not hold.
    """
    with scene() as stage, _own_disk(stage.state):
        broker = Broker(stage.folder, stage.proxy)
        try:
            stage.tcti = "tabrmd:bus_type=session"
            stage.shell.environment |= broker.environment
            for command in (
                ("create", "gate", "--algorithm", "ec-p256"),
                ("request", "gate", *SUBJECT),
            ):
                assert stage.command(*command).returncode == 0
            certify(stage, "gate")
            chaos = Chaos(stage, broker, random.Random(seed), only)
            before = hashlib.sha256(chaos.key_file.read_bytes()).hexdigest()
            chaos.start_sessions()
            chaos.open_console()
            _rounds(chaos, seconds, say)
            left = chaos.console.leaves()
            chaos.talking()
            # Keys may have moved it into the TPM, where "p" puts it; then its file is gone.
            if chaos.key_file.exists():
                assert hashlib.sha256(chaos.key_file.read_bytes()).hexdigest() == before
            proved = json.loads(stage.command("keys", "--prove", "--json").stdout)
            own = [one for kind in proved.values() if isinstance(kind, list) for one in kind]
            assert [one["usable"] for one in own if one["identity"] == "gate"] == [True], proved
            for session in chaos.sessions.values():
                stage.command("session", "stop", session)
            _report(chaos, left, say)
            _look_into_the_log(stage)
        except BaseException:
            say(_log(stage)[-LOG_SHOWN:])
            raise
        finally:
            for session in json.loads(stage.shell("session", "list", "--json").stdout)["sessions"]:
                stage.shell("session", "stop", session["id"])
            for terminal in stage.terminals:
                terminal.close()
            broker.close()


def _rounds(chaos: Chaos, seconds: float, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        start = time.monotonic()
        name = chaos.chance.choice(chaos.names)
        say(f"{start - began:6.0f} s  {name}")
        chaos.round(name)


def _report(chaos: Chaos, left: float, say: Callable[[str], None]) -> None:
    faults = ", ".join(f"{name} {count}" for name, count in sorted(chaos.done.items()))
    again = ", ".join(f"{name} ({count})" for name, count in chaos.restarts.items()) or "none"
    say(f"{sum(chaos.done.values())} faults: {faults}")
    say(f"{chaos.keys} random keys; slowest answer {chaos.slowest:.2f} s; left in {left:.1f} s")
    say(f"given up and started again: {again}")
    say("the identity is whole, its key signs, no child, descriptor or key was left")


def _look_into_the_log(stage: Scene) -> None:
    """Only what the system refused has a traceback there: nothing unexpected was met."""
    ends = [
        line
        for line in _log(stage).splitlines()
        if line.partition(":")[0].rpartition(".")[2].endswith("Error") and "[Errno" not in line
    ]
    assert not ends, ends


def _log(stage: Scene) -> str:
    return (stage.state / "log/tpmconsole.log").read_text(errors="replace")


@contextmanager
def _own_disk(folder: Path) -> Iterator[None]:
    """A disk of its own for the state directory, where we may mount one."""
    folder.mkdir(mode=0o700)
    mount = ["/usr/bin/mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise SystemExit("chaos fills a disk and makes it read-only: run it as root")
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", "-l", str(folder)], check=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="random faults against a console")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", nargs="*", default=(), metavar="FAULT")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    run(args.seconds, args.seed, args.only, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
