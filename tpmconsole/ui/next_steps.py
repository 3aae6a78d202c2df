"""Remedies are written for commands; on the screen a key does it."""

from __future__ import annotations

import re

_KEYS = tuple(
    (re.compile(command), key)
    for command, key in (
        (r"(run: )?tpmconsole trust \S+ --add FILE", "t on page 3"),
        (r"(run: )?tpmconsole import \S+ FILE( --trust \S*FILE)?", "i on page 3"),
        (r"(run: )?tpmconsole request [^\s;]+", "r on page 3"),
        (r"\(tpmconsole renew\)", "(w on page 3)"),
        (r"tpmconsole create [^\s;]+", "n on page 3"),
        (r"\(tpmconsole forget [^\s)]+\)", "(x on page 3)"),
        (r"\((tpmconsole )?session reload ID\)", "(l on page 4)"),
        (r"with --role (\w+) or both", r"for the role \1 or both"),
        (r"--engine (\w+)", r"engine \1"),
    )
)


def by_keys(remedy: str) -> str:
    """The remedy with keys for commands and their options."""
    for command, key in _KEYS:
        remedy = command.sub(key, remedy)
    return remedy
