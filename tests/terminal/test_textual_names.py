"""What the terminal code needs of Textual beyond its documentation, one test for each name.

Textual is pinned exactly. If a new release fails here, the test says what we rely on and why;
look at the same place in its ``drivers/linux_driver.py``, then change ours.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from rich.style import Style
from textual import constants, events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.app import App, ComposeResult
from textual.driver import Driver
from textual.drivers.headless_driver import HeadlessDriver
from textual.message_pump import MessagePump
from textual.strip import Strip
from textual.widgets import Static
from textual.worker import WorkerFailed

from tpmconsole.ui.terminal.output.grid import Grid
from tpmconsole.ui.terminal.output.painter import Painter, is_direct
from tpmconsole.ui.terminal.profile import LineProfile, prepare_environment


class Recorder(HeadlessDriver):
    """Keeps what Textual writes."""

    written: list[str]

    def write(self, data: str) -> None:
        self.__dict__.setdefault("written", []).append(data)

    @property
    def is_headless(self) -> bool:
        return False


class Words(App[None]):
    """An app to look into."""

    def compose(self) -> ComposeResult:
        yield Static("some [b]bold[/b] words")


def test_pinned() -> None:
    """Everything here was looked up in this release."""
    pins = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f"textual=={version('textual')}" in pins


def test_driver_is_built_with_these_arguments() -> None:
    """`App._build_driver` calls our class as ``driver_class(app, debug=…, mouse=…, size=…)``."""
    assert list(inspect.signature(Driver).parameters) == ["app", "debug", "mouse", "size"]
    source = inspect.getsource(App._build_driver)
    for name in ("self.driver_class", "debug=", "mouse=", "size="):
        assert name in source


def test_driver_methods() -> None:
    """What Textual calls on a driver; ours has the same names."""
    for name in (
        *("write", "flush", "close", "disable_input", "can_suspend", "send_message"),
        *("start_application_mode", "stop_application_mode", "process_message"),
        *("suspend_application_mode", "resume_application_mode", "SignalResume"),
    ):
        assert hasattr(Driver, name), name


async def test_driver_attributes() -> None:
    """`Driver.__init__` keeps ``_app``, ``_mouse``, ``_size`` and ``_loop``, which ours uses."""
    driver = HeadlessDriver(Words(), mouse=False, size=(30, 7))
    assert (driver._mouse, driver._size) == (False, (30, 7))
    assert driver._loop.is_running()
    assert isinstance(driver._app, Words)


async def test_app_driver_and_its_size() -> None:
    """`repaint` finds the driver as ``App._driver``; ``Driver._size`` is the app's first size."""
    app = Words()
    async with app.run_test(size=(30, 7)):
        assert isinstance(app._driver, Driver)
        assert "_driver._size" in inspect.getsource(App.size.fget)  # type: ignore[attr-defined]


async def test_frames_are_written_in_the_language_we_read() -> None:
    """The compositor's updates are CUP, SGR and text; ``App._display`` gives them to `write`."""
    app = Words()
    async with app.run_test(size=(30, 4)):
        driver = Recorder(app, size=(30, 4))
        app._driver = driver
        app.screen.refresh(layout=True)
        app._display(app.screen, app.screen._compositor.render_update(full=True))
        grid = Grid(30, 4)
        Painter(grid).feed("".join(driver.written))
        assert grid.lines()[0].rstrip() == "some bold words"
        app._driver = HeadlessDriver(app)


def test_styles_are_rendered_as_sgr() -> None:
    """``Strip.render_style``: ``ESC [ codes m text ESC [ 0 m``."""
    from rich.color import ColorSystem

    made = Strip.render_style(Style(color="red", bold=True), "x", ColorSystem.STANDARD)
    assert made == "\x1b[1;31mx\x1b[0m"


async def test_bell_and_clipboard_are_writes_of_their_own() -> None:
    """`is_direct` lets only these through; a pointer shape (OSC 22) is nothing for us."""
    app = Words()
    async with app.run_test():
        driver = Recorder(app)
        app._driver = driver
        app.bell()
        app.copy_to_clipboard("hello")
        assert [is_direct(data) for data in driver.written] == [True, True]
        app._set_pointer_shape("text")
        grid = Grid(10, 1)
        Painter(grid).feed(driver.written[-1])
        assert grid.lines() == [" " * 10]
        app._driver = HeadlessDriver(app)


def test_ansi_sequences_keys() -> None:
    """The table that says which sequences are keys; others are dropped."""
    assert isinstance(ANSI_SEQUENCES_KEYS["\x1b[A"], tuple)
    assert isinstance(ANSI_SEQUENCES_KEYS["\x1b1"], str), "letters of a Mac's keyboard"
    assert "\x1b[?62c" not in ANSI_SEQUENCES_KEYS


def test_xterm_parser_makes_the_events() -> None:
    """``XTermParser._sequence_to_key_events`` and ``parse_mouse_code``."""
    parser = XTermParser()
    assert [event.key for event in parser._sequence_to_key_events("\x1b[A")] == ["up"]
    assert [event.key for event in parser._sequence_to_key_events("?")] == ["question_mark"]
    assert isinstance(parser.parse_mouse_code("\x1b[<0;3;2M"), events.MouseDown)


def test_escape_delay() -> None:
    """``constants.ESCAPE_DELAY``, in seconds, from ESCDELAY."""
    assert 0 < constants.ESCAPE_DELAY < 1


async def test_callbacks_follow_messages() -> None:
    """``events.Callback`` is run by any node in its turn; `InOrder` and ending rely on it."""
    app = Words()
    async with app.run_test() as pilot:
        ran: list[str] = []
        for node in (app, app.screen, app.query_one(Static)):
            assert node.post_message(events.Callback(callback=lambda: ran.append("ran")))
        await pilot.pause()
        assert ran == ["ran"] * 3


def test_letters_go_to_the_focused_widget_and_bindings_to_the_app() -> None:
    """The reason for `InOrder`: if this is no longer so, it may go."""
    assert "_forward_event(event)" in inspect.getsource(App.on_event)
    assert "_check_bindings" in inspect.getsource(App._on_key)


def test_crash_path() -> None:
    """`QuietCrash` overrides and uses these, so that nothing with local variables is printed."""
    assert list(inspect.signature(App._handle_exception).parameters) == ["self", "error"]
    assert list(inspect.signature(App._fatal_error).parameters) == ["self"]
    assert callable(MessagePump._close_messages_no_wait)
    app = Words()
    assert app._exit_renderables == []
    assert app._return_code is None
    assert app._exit is False
    for name in ("_print_error_renderables", "_fatal_error"):
        source = inspect.getsource(getattr(App, name))
        assert "_exit_renderables" in source
    assert WorkerFailed(ValueError("x")).error.args == ("x",)


def test_environment_is_read_at_import() -> None:
    """The names `prepare_environment` sets, and what they do in ``textual.constants``."""
    environment: dict[str, str] = dict(os.environ)
    profile = LineProfile("serial", ascii=True, colours=16, fps=15)
    prepare_environment(profile, environment)
    code = (
        "from textual import constants as c;"
        "print(c.MAX_FPS, c.COLOR_SYSTEM, c.TEXTUAL_ANIMATIONS, c.DISABLE_KITTY_KEY,"
        " c.SMOOTH_SCROLL, c.DEFAULT_THEME)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["15", "standard", "none", "True", "False", "ansi-dark"]
