"""A kiosk in a crowd: keys and noise at random, and pauses: ``soak_kiosk.py [MINUTES [SEED]]``.

It ends with 1 at the first thing that must not happen: the kiosk ends, hangs, shows an error of its
own, grows, or leaves more running than one simulated TPM with the tour's second and its sessions.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from support.pty import Pty
from support.waiting import processes_of

QUIET_S, PAGE_S = 6, 2
SECRET = ("f8", "f8", "x", "f3", "x")
SECRET_KEYS = b"\x1b[19~\x1b[19~x\x1bORx"
# As a child hammers on a keyboard: letters, Enter, arrows, function keys, control keys.
KEYS = [bytes([letter]) for letter in b"123456tirscnupevwdxlq?y \r\r\r\r\r\t\x7f\x0cab09./\\"]
KEYS += [bytes([control]) for control in range(32) if control != 27]
KEYS += [b"\x1b", b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[C", b"\x1b[D", b"\x1b[5~", b"\x1b[6~"]
KEYS += [b"\x1b[H", b"\x1b[F", b"\x1bOP", b"\x1bOQ", b"\x1bOR", b"\x1bOS", b"\x1b[15~", b"\x1b[17~"]
KEYS += [b"\x1b[21~", b"\x1b[24~", b"\x1bx", b"\x1b[Z", b"\x1b[200~rm -rf /\r\x1b[201~"]
NOISE = [b"\xff", b"\x80\x81", b"\x11", b"\x13", b"\0", b"\x1b[?1;2c", b"\x1b[0n", b"\x1b[3;4R"]
WRONG = ("Sorry, something unexpected", "Traceback", "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY")
# What the tour has at most, besides the kiosk and its TPM worker: two simulators of three programs
# each, the thief's worker, a server, and a client that is just about to end.
MOST_PROCESSES = 1 + 1 + 2 * 3 + 1 + 2
GROWTH_MB = 60
BASE_AFTER_S = 30


class Soak:
    """One kiosk and those who hammer on it.

    Args:
        state: its state directory.
        seed: of what they press.
    """

    def __init__(self, state: Path, seed: int) -> None:
        self._state = state
        self._chance = random.Random(seed)
        self._began = time.monotonic()
        self._base = 0
        self.seen: Counter[str] = Counter()
        rules = f"quiet_s = {QUIET_S}\npage_s = {PAGE_S}\nleave = {json.dumps(SECRET)}\n"
        (state / "tpmconsole.toml").write_text(f"[kiosk]\n{rules}")
        self._kiosk = Pty(
            [
                *(sys.executable, "-m", "tpmconsole", "--kiosk", "--line", "serial"),
                *("--state", str(state)),
            ]
        )

    def run(self, seconds: float) -> None:
        """Hammer on it, and let it alone, in turn; at the end leave by its secret keys."""
        self._kiosk.until("Press Enter to begin", 30)
        while time.monotonic() - self._began < seconds:
            visit = self._chance.choice((self._hammer, self._hammer, self._read, self._go_away))
            self.seen[visit.__name__.strip("_")] += 1
            visit()
            self._check()
        self._settle()
        self._kiosk.send(SECRET_KEYS)
        assert self._kiosk.wait(30) == 0, "the secret keys do not end it"
        left = processes_of(self._state)
        assert not left, f"left running: {left}"

    def close(self) -> None:
        self._kiosk.close()

    def _hammer(self) -> None:
        for _ in range(self._chance.randint(5, 150)):
            few = self._chance.random() < 0.1
            self._kiosk.send(self._chance.choice(NOISE if few else KEYS))
            self._kiosk.pump(self._chance.choice((0.0, 0.002, 0.02)))
            assert not self._kiosk.ended(), "it has ended"

    def _read(self) -> None:
        """A visitor who takes the tour as intended."""
        self._kiosk.send(b"6")
        for _ in range(self._chance.randint(2, 11)):
            self._kiosk.send(b"\r")
            self._listen(self._chance.uniform(0.5, 4))

    def _go_away(self) -> None:
        """Without a visitor it must start again, and then play."""
        self._settle()
        self._listen(self._chance.uniform(1, 4 * PAGE_S))

    def _settle(self) -> None:
        """Without a key, the cover comes, whatever was before, once nothing is busy any more."""
        self._listen(QUIET_S * 0.5)
        self._kiosk.until("Press Enter to begin", QUIET_S + 120)
        self.seen["covers"] += 1

    def _listen(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._kiosk.pump(min(left, 0.1))

    def _check(self) -> None:
        assert not self._kiosk.ended(), "it has ended"
        text = self._kiosk.text
        wrong = [word for word in WRONG if word in text]
        assert not wrong, wrong
        log = self._state / "log" / "tpmconsole.log"
        if log.exists():
            assert "Traceback" not in log.read_text(errors="replace"), "a traceback in the log"
        processes = processes_of(self._state)
        assert len(processes) <= MOST_PROCESSES, processes
        self.seen["processes"] = max(self.seen["processes"], len(processes))
        self._check_growth()

    def _check_growth(self) -> None:
        used = psutil.Process(self._kiosk.pid).memory_info().rss // 2**20
        files = psutil.Process(self._kiosk.pid).num_fds()
        self.seen["rss_mb"] = max(self.seen["rss_mb"], used)
        self.seen["open_files"] = max(self.seen["open_files"], files)
        if time.monotonic() - self._began < BASE_AFTER_S:
            self._base = max(self._base, used)
        assert used <= max(self._base, 100) + GROWTH_MB, f"{used} MB, at first {self._base}"
        assert files < 64, f"{files} open files"


def main() -> int:
    """Soak it; the seed is printed, so that what was found can be found again."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"{minutes:g} minutes, seed {seed}", flush=True)
    state = Path(tempfile.mkdtemp(prefix="tc-", dir="/tmp"))
    soak = Soak(state, seed)
    try:
        soak.run(minutes * 60)
    except AssertionError as error:
        print(f"FAILED: {error}\n{soak._kiosk.text}")
        print(f"its state is kept: {state}")
        return 1
    finally:
        soak.close()
        print(", ".join(f"{name} {count}" for name, count in soak.seen.items()))
    shutil.rmtree(state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
