"""Colours by meaning. The terminal keeps its own background and foreground, dark or light."""

from __future__ import annotations

from dataclasses import replace

from textual.theme import BUILTIN_THEMES

# Sixteen colours, by the names that every terminal gives its own shades.
SERIAL = replace(
    BUILTIN_THEMES["ansi-dark"], name="console-serial", accent="ansi_cyan", primary="ansi_cyan"
)
# Shades in the middle, which can be read on dark and on light.
FAST = replace(
    SERIAL,
    name="console-fast",
    primary="#3d94c9",
    accent="#3d94c9",
    success="#5a9e3f",
    warning="#c08a1e",
    error="#d0473e",
)
