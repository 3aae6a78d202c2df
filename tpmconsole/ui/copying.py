"""A text that can be copied into the clipboard of the user's terminal (key ``y``)."""

from __future__ import annotations

from typing import NamedTuple


class Copy(NamedTuple):
    """A text to copy.

    Attributes:
        what: names it: ``SHA-256``, ``path``.
        text: the text itself.
    """

    what: str
    text: str
