"""Split the input from the line into keys, sequences and pastes.

Pure: bytes in, tokens out; the driver measures the time. No input raises an exception. Silently
dropped: bytes that are not UTF-8 (noise, a wrong speed, a BREAK), NUL, XON and XOFF, and strings
such as the answers to OSC and DCS queries. ``keys.py`` decides which sequences are keys.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from typing import NamedTuple

from tpmconsole.ui.terminal.input.paste import BurstGuard, Token, clean_paste

# DEC terminals with 8-bit controls send CSI and SS3 as one byte, which is not UTF-8.
_CSI_BYTE, _SS3_BYTE = "\udc9b", "\udc8f"
_NOISE = re.compile("[\udc80-\udcff\x80-\x9f\x00\x11\x13\ufffd]")

_STRING = r"[\]PX^_][^\x07\x18\x1a\x1b]*"  # OSC, DCS, SOS, PM, APC up to their end
_COMPLETE = re.compile(
    r"(?P<key>\x1b\[\[[A-E]"  # F1 to F5 of the Linux console
    r"|\x1b\[\d+\$"  # rxvt with shift
    r"|\x1b\[M[^\x1b]{3}"  # the mouse, from terminals without a newer report
    r"|\x1b\[(?!M)[0-?]*[ -/]*[@-Z\\-~]"  # control sequences (CSI)
    r"|\x1bO[0-9;]*[A-Za-z])"  # keypad and function keys (SS3)
    rf"|\x1b{_STRING}(?:\x07|\x18|\x1a|\x1b\\)"
    r"|\x1b(?P<alt>[^\x1b\[O\]PX^_])"
)
_PARTIAL = re.compile(
    rf"\x1b(?:\[(?:\[[0-?]*[ -/]*|M[^\x1b]{{0,2}}|[0-?]*[ -/]*)|O[0-9;]*|{_STRING}\x1b?)?"
)
_MALFORMED = re.compile(r"\x1b(?:\[\[?[0-?]*[ -/]*|O[0-9;]*|[\]PX^_][^\x1b]*)?")
_LONGEST_SEQUENCE = 64

_PASTE_START, _PASTE_END = "\x1b[200~", "\x1b[201~"
_LONGEST_PASTE = 1 << 20


class Delays(NamedTuple):
    """How long to wait for more input, in seconds.

    Attributes:
        escape: after ESC or part of a sequence, before it counts as complete.
        paste: inside a bracketed paste, before the end mark counts as lost.
        hold: after a character, for a paste that is not bracketed.
    """

    escape: float = 0.1
    paste: float = 1.0
    hold: float = 0.0


class InputDecoder:
    """Splits the input into tokens.

    Args:
        delays: the values of `wait`.

    Feed it what was read. If `wait` is not None afterwards, call `timeout` when no input has
    arrived for that long.
    """

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._decode = getincrementaldecoder("utf-8")("surrogateescape").decode
        self._rest = ""
        self._paste: list[str] | None = None
        self._paste_length = 0
        self._guard = BurstGuard(delays.hold)

    @property
    def wait(self) -> float | None:
        """How long to wait for more input before `timeout`, in seconds; None: nothing is held."""
        if self._paste is not None:
            return self._delays.paste
        if self._rest:
            return self._delays.escape
        return self._guard.wait

    def feed(self, data: bytes) -> list[Token]:
        """Return the tokens in what was read."""
        text = self._decode(data).replace(_CSI_BYTE, "\x1b[").replace(_SS3_BYTE, "\x1bO")
        tokens: list[Token] = []
        self._cut(self._rest + _NOISE.sub("", text), tokens)
        return self._guard.after_read(tokens)

    def timeout(self) -> list[Token]:
        """Return the tokens in what was held back, as nothing else has arrived."""
        tokens: list[Token] = []
        rest, self._rest = self._rest, ""
        if self._paste is not None:
            self._add_to_paste(rest)
            self._end_paste(tokens)
        elif rest == "\x1b":
            tokens.append(Token("char", "\x1b"))
        elif len(rest) == 2:
            # ESC and a character such as [, then nothing: Alt and that character.
            tokens.append(Token("alt", rest[1]))
        return self._guard.after_silence(tokens)

    def _cut(self, text: str, tokens: list[Token]) -> None:
        position = 0
        self._rest = ""
        while position < len(text):
            if self._paste is not None:
                position = self._cut_paste(text, position, tokens)
            elif text[position] != "\x1b":
                tokens.append(Token("char", text[position]))
                position += 1
            elif match := _COMPLETE.match(text, position):
                self._take(match, tokens)
                position = match.end()
            elif _PARTIAL.fullmatch(text, position):
                self._rest = _shortened(text[position:])
                return
            else:
                position = self._cut_malformed(text, position, tokens)

    def _take(self, match: re.Match[str], tokens: list[Token]) -> None:
        if match[0] == _PASTE_START:
            self._paste, self._paste_length = [], 0
        elif match["key"]:
            tokens.append(Token("sequence", match[0]))
        elif match["alt"]:
            tokens.append(Token("alt", match["alt"]))

    def _cut_malformed(self, text: str, position: int, tokens: list[Token]) -> int:
        """Skip a malformed sequence as far as it can reach; ESC before ESC is the Escape key."""
        if text.startswith("\x1b\x1b", position):
            tokens.append(Token("char", "\x1b"))
            return position + 1
        match = _MALFORMED.match(text, position)
        return max(match.end() if match else 0, position + 1)

    def _cut_paste(self, text: str, position: int, tokens: list[Token]) -> int:
        end = text.find(_PASTE_END, position)
        if end >= 0:
            self._add_to_paste(text[position:end])
            self._end_paste(tokens)
            return end + len(_PASTE_END)
        # Part of the end mark may have arrived.
        kept = next(n for n in range(len(_PASTE_END) - 1, -1, -1) if text.endswith(_PASTE_END[:n]))
        stop = max(position, len(text) - kept)
        self._add_to_paste(text[position:stop])
        self._rest = text[stop:]
        return len(text)

    def _add_to_paste(self, text: str) -> None:
        if self._paste is not None and self._paste_length < _LONGEST_PASTE:
            self._paste.append(text)
            self._paste_length += len(text)

    def _end_paste(self, tokens: list[Token]) -> None:
        tokens.append(Token("paste", clean_paste("".join(self._paste or ()))))
        self._paste = None


def _shortened(rest: str) -> str:
    """Shorten an incomplete sequence: only the ends of a string matter, endless ones are cut."""
    if rest[1:2] and rest[1] in "]PX^_" and len(rest) > _LONGEST_SEQUENCE:
        return rest[:2] + "." + (rest[-1] if rest[-1] == "\x1b" else "")
    return rest[:_LONGEST_SEQUENCE]
