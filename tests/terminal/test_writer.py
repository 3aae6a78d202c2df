"""Nothing waits for the line, and only the newest frame waits for it."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import Callable, Iterator

import pytest

from tpmconsole.ui.terminal.output.display import Display
from tpmconsole.ui.terminal.output.writer import Outlet, Pace
from tpmconsole.ui.terminal.profile import LineProfile
from tpmconsole.ui.terminal.size import LineSize

SERIAL = LineProfile("serial", ascii=True, colours=16, baud=115200, merge_s=0.001)


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The two ends of a line: ours, and the terminal's."""
    far, near = pty.openpty()
    tty.setraw(near)
    os.set_blocking(far, False)
    yield near, far
    for descriptor in (near, far):
        os.close(descriptor)


def read(far: int) -> bytes:
    """What has arrived."""
    try:
        return os.read(far, 1 << 20)
    except BlockingIOError:
        return b""


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop run until a condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (it watches the other end of a line)
            await asyncio.sleep(0.002)


class Busy:
    """A line that says how many bytes it still has to carry."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self.asked = 0
        self.free = 0  # how often it is empty nevertheless
        monkeypatch.setattr(Outlet, "waiting", lambda _outlet: self._waiting())

    def _waiting(self) -> int:
        self.asked += 1
        return self.bytes if self.asked > self.free else 0


def display(near: int, profile: LineProfile = SERIAL) -> Display:
    made = Display(near, profile, LineSize(80, 24), on_hangup=lambda: None)
    made.start("")
    return made


async def test_frames_of_a_busy_line_are_skipped(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = ends
    line = Busy(monkeypatch)
    shown = display(near)
    shown.write("\x1b[1;1Hfirst")
    await until(lambda: b"first" in read(far))
    line.bytes, line.asked = 3000, 0
    for number in range(50):
        shown.write(f"\x1b[2;1Hframe {number}")
        await asyncio.sleep(0.001)
    await until(lambda: line.asked > 2)
    assert read(far) == b""
    line.bytes = 0
    received = b""

    def newest() -> bool:
        nonlocal received
        received += read(far)
        return b"frame 49" in received

    await until(newest)
    assert received == b"\r\nframe 49"
    shown.close()


async def test_a_big_frame_goes_in_slices(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = ends
    line = Busy(monkeypatch)
    line.bytes, line.free = 3000, 1
    shown = display(near)
    shown.write("".join(f"\x1b[{y};1H{f'line {y:02} ' * 10}" for y in range(1, 25)))
    received = b""

    def some() -> bool:
        nonlocal received
        received += read(far)
        return bool(received)

    await until(some)
    await until(lambda: line.asked > 3)
    received += read(far)
    assert len(received) < 1300, "a tenth of a second, and one row more"
    # The bottom changes before its turn has come: its old text is never sent.
    shown.write("\x1b[24;1H" + "newest " * 11)
    line.bytes = 0
    await until(lambda: some() and b"newest" in received)
    assert b"line 24" not in received
    shown.close()


async def test_writes_that_follow_each_other_are_one_frame(ends: tuple[int, int]) -> None:
    near, far = ends
    shown = display(near)
    shown.write("\x1b[1;1Habc")
    shown.write("\x1b[1;1Hxyz")
    received = b""

    def all_of_it() -> bool:
        nonlocal received
        received += read(far)
        return b"xyz" in received

    await until(all_of_it)
    assert b"abc" not in received
    shown.close()


async def test_a_stuck_line_blocks_nothing(ends: tuple[int, int]) -> None:
    near, _far = ends
    loop = asyncio.get_running_loop()
    shown = display(near, LineProfile("fast", ascii=False, colours=16, merge_s=0.001))
    start = loop.time()
    for number in range(400):
        shown.write(
            "".join(f"\x1b[{y};1H{number:4}{chr(64 + number % 60) * 70}" for y in range(1, 25))
        )
        await asyncio.sleep(0)
    assert loop.time() - start < 1.5, "400 frames painted, however few were sent"
    shown.stop("bye")
    assert loop.time() - start < 3
    shown.close()


async def test_a_line_that_is_gone_is_reported(ends: tuple[int, int]) -> None:
    far, near = pty.openpty()
    gone = asyncio.Event()
    outlet = Outlet(near, asyncio.get_running_loop(), on_ready=lambda: None, on_failure=gone.set)
    os.close(far)
    outlet.send(b"anybody there?")
    await asyncio.wait_for(gone.wait(), 2)
    await until(lambda: not outlet.busy)
    outlet.send(b"no")
    assert not outlet.busy
    outlet.close()
    os.close(near)


async def test_somebody_made_the_terminal_non_blocking(ends: tuple[int, int]) -> None:
    near, far = ends
    os.set_blocking(near, False)
    ready = asyncio.Event()
    outlet = Outlet(near, asyncio.get_running_loop(), on_ready=ready.set, on_failure=lambda: None)
    outlet.send(b"x" * 100_000)
    received = b""
    async with asyncio.timeout(5):
        while len(received) < 100_000:
            received += read(far)
            await asyncio.sleep(0)
        await ready.wait()
    assert received == b"x" * 100_000
    outlet.close()


def test_pace() -> None:
    pace = Pace.of(115200)
    assert pace.slice == 1152
    assert pace.seconds(pace.low + 1152) == pytest.approx(0.1)
    assert Pace.of(9600).slice == 256
    assert Pace.of(None).slice > 10_000
