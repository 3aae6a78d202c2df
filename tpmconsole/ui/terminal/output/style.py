"""Looks of characters: colours, attributes, and the SGR codes (ECMA-48 8.3.117) to change them.

Looks are interned: equal looks are the same object, so comparing two is cheap.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

BOLD, DIM, ITALIC, UNDERLINE, BLINK, REVERSE, CONCEAL, STRIKE, OVERLINE = (
    1 << bit for bit in range(9)
)

SERIAL_FLAGS = BOLD | DIM | UNDERLINE | REVERSE
"""The attributes to send on a serial line: no blinking, and only what a VT220 shows."""
ALL_FLAGS = (1 << 9) - 1

# Attributes that are visible on a space.
_SEEN_ON_BLANK = UNDERLINE | REVERSE | STRIKE | OVERLINE

_ON = {
    1: BOLD,
    2: DIM,
    3: ITALIC,
    4: UNDERLINE,
    5: BLINK,
    6: BLINK,
    7: REVERSE,
    8: CONCEAL,
    9: STRIKE,
    21: UNDERLINE,
    53: OVERLINE,
}
_OFF = {
    22: BOLD | DIM,
    23: ITALIC,
    24: UNDERLINE,
    25: BLINK,
    27: REVERSE,
    28: CONCEAL,
    29: STRIKE,
    55: OVERLINE,
}
_ON_CODE = {flag: str(code) for code, flag in reversed(_ON.items())}


class Look(NamedTuple):
    """A look; get one from `apply_sgr` or `blank_of`, so that it is interned.

    Attributes:
        foreground: SGR parameters of the colour such as ``31`` or ``38;5;208``; empty for default.
        background: the same for the background.
        flags: `BOLD` and the others.
    """

    foreground: str = ""
    background: str = ""
    flags: int = 0


PLAIN = Look()
_interned: dict[Look, Look] = {PLAIN: PLAIN}


def _intern(look: Look) -> Look:
    return _interned.setdefault(look, look)


@lru_cache(maxsize=4096)
def blank_of(look: Look) -> Look:
    """The part of a look that is visible on a space."""
    flags = look.flags & _SEEN_ON_BLANK
    return _intern(Look(look.foreground if flags else "", look.background, flags))


@lru_cache(maxsize=4096)
def apply_sgr(look: Look, parameters: str, kept: int = ALL_FLAGS) -> Look:
    """Return the look after an SGR sequence.

    Args:
        look: the look before it.
        parameters: the text between ``ESC [`` and ``m``.
        kept: the attributes to keep; the others are ignored.
    """
    foreground, background, flags = look
    codes = [_number(part) for part in parameters.replace(":", ";").split(";")]
    index = 0
    while index < len(codes):
        code = codes[index]
        if code in (38, 48):
            colour, used = _extended_colour(codes[index:])
            index += used
            if code == 38:
                foreground = colour
            else:
                background = colour
            continue
        if code == 0:
            foreground, background, flags = PLAIN
        elif code in _ON:
            flags |= _ON[code]
        elif code in _OFF:
            flags &= ~_OFF[code]
        elif 30 <= code <= 37 or 90 <= code <= 97:
            foreground = str(code)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            background = str(code)
        elif code == 39:
            foreground = ""
        elif code == 49:
            background = ""
        index += 1
    return _intern(Look(foreground, background, flags & kept))


def _number(part: str) -> int:
    return int(part) if part.isdecimal() else 0


def _extended_colour(codes: list[int]) -> tuple[str, int]:
    """The parameters of a 256-colour or 24-bit colour, and the number of codes they use."""
    length = {5: 3, 2: 5}.get(codes[1] if len(codes) > 1 else 0, 1)
    if length == 1 or len(codes) < length:
        return "", len(codes)
    return ";".join(map(str, codes[:length])), length


@lru_cache(maxsize=4096)
def sgr_between(old: Look, new: Look) -> str:
    """The shortest SGR sequence that turns one look into another; empty if they are the same."""
    if old == new:
        return ""
    # An empty first parameter counts as 0: reset.
    whole = _sgr(["", *_codes(PLAIN, new)])
    change = _sgr(_codes(old, new))
    return change if len(change) < len(whole) else whole


def _sgr(codes: list[str]) -> str:
    return f"\x1b[{';'.join(codes)}m"


def _codes(old: Look, new: Look) -> list[str]:
    codes: list[str] = []
    flags = old.flags
    for code, group in _OFF.items():
        if flags & group & ~new.flags:
            codes.append(str(code))
            flags &= ~group
    codes += [code for flag, code in _ON_CODE.items() if new.flags & flag & ~flags]
    if old.foreground != new.foreground:
        codes.append(new.foreground or "39")
    if old.background != new.background:
        codes.append(new.background or "49")
    return codes
