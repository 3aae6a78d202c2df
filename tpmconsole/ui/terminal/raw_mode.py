"""Set up a terminal for a full screen, and restore it.

A VT220 ignores the private modes that it does not know: the alternate screen (1049), bracketed
paste (2004) and size reports (2048). Many terminals at the other end of a serial line do know them,
and setting them needs no answer. As there may be no alternate screen, leaving clears the screen.
"""

from __future__ import annotations

import termios
from typing import Any

from tpmconsole.ui.terminal.profile import LineProfile

_MOUSE = ("1000", "1002", "1006")  # buttons, drags, as SGR
_PASTE = "2004"
_SIZE_REPORTS = "2048"  # a serial line has no SIGWINCH to report a new size


def enter_sequence(profile: LineProfile) -> str:
    """Switch to the alternate screen and set it up."""
    return "\x1b[?1049h" + set_up_sequence(profile)


def set_up_sequence(profile: LineProfile) -> str:
    """Hide the cursor, switch off wrapping, switch on reports. Also used to restore these modes.

    It does not enter the alternate screen: some terminals that enter it twice would return to it
    instead of the normal screen.
    """
    return "\x1b[?25l\x1b[?7l" + "".join(f"\x1b[?{mode}h" for mode in _reports(profile))


def leave_sequence(profile: LineProfile) -> str:
    """Undo all of that, and clear the screen in case there is no other: at most 60 bytes."""
    off = "".join(f"\x1b[?{mode}l" for mode in _reports(profile))
    return f"\x1b[m\x1b[H\x1b[J{off}\x1b[?7h\x1b[?25h\x1b[?1049l"


def _reports(profile: LineProfile) -> tuple[str, ...]:
    if profile.serial:
        return (_PASTE, _SIZE_REPORTS)
    return (_PASTE, *_MOUSE) if profile.mouse else (_PASTE,)


class RawMode:
    """Sets the terminal's settings (termios) for a full screen, and restores them.

    Args:
        descriptor: the terminal; anything else is left unchanged.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[Any] | None = None

    def enter(self) -> None:
        """Read every key at once and unchanged, without echo, signals or output translation.

        In the background, this stops the process until it is in the foreground again (SIGTTOU).
        """
        try:
            settings = termios.tcgetattr(self._descriptor)
            if self._before is None:
                self._before = termios.tcgetattr(self._descriptor)
            settings[0] &= ~(
                termios.ICRNL
                | termios.INLCR
                | termios.IGNCR
                | termios.ISTRIP
                | termios.PARMRK
                | termios.BRKINT  # a BREAK, or a wrong speed, must not interrupt the program
                | termios.IXON  # ctrl+s and ctrl+q arrive, and noise cannot stop the output
                | termios.IXOFF
            )
            settings[0] |= termios.IGNBRK
            settings[1] &= ~termios.OPOST
            settings[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
            settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._descriptor, termios.TCSANOW, settings)
        except termios.error:
            return

    def leave(self) -> None:
        """Restore the settings, and drop input that was meant for this program.

        Otherwise, late answers to a query would be typed into the shell.
        """
        before, self._before = self._before, None
        if before is None:
            return
        try:
            termios.tcflush(self._descriptor, termios.TCIFLUSH)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, before)
        except termios.error:
            return
