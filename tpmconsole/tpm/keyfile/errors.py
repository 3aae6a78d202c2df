"""Errors that say what is wrong with a key file, or what the file is instead."""

from __future__ import annotations

from tpmconsole.errors import ConsoleError
from tpmconsole.tpm.model import KeyKind


class KeyFileError(ConsoleError):
    """A file without a TSS2 key, or with a damaged one.

    Attributes:
        part: what is damaged: ``label``, ``base64``, ``truncated``, ``DER length``, ``structure``,
            ``OID``, ``parent``, ``public area``, ``private area`` or the name of an optional
            field; ``format`` for an old format; empty if the file is not a TSS2 key at all.
    """

    part: str = ""

    @property
    def kind(self) -> KeyKind:
        """The kind that a list of key files shows."""
        return KeyKind.UNREADABLE if self.part else KeyKind.NOT_TSS2


def damaged(part: str, cause: str, remedy: str = "") -> KeyFileError:
    """A TSS2 key that cannot be read.

    Args:
        part: what is damaged, see ``KeyFileError``.
        cause: how; it follows the name of the part.
        remedy: what to do, if not to copy the file again.
    """
    error = KeyFileError(
        "Key file damaged",
        f"{part}: {cause}",
        remedy or "copy the file again from where the key was made, or make a new key",
    )
    error.part = part
    return error


def old_format(what: str) -> KeyFileError:
    """A TSS2 key in a format older than the one that is read here.

    Args:
        what: what it is, with its article.
    """
    error = KeyFileError(
        "Key in an old format",
        f"it is {what}",
        "write it again as TSS2 PRIVATE KEY with the tool that made it, or make a new key",
    )
    error.part = "format"
    return error


def something_else(what: str) -> KeyFileError:
    """A file that is not a TSS2 key, but ``what``, with its article ("a certificate")."""
    return KeyFileError(
        "Not a TSS2 key file",
        f"it is {what}",
        "choose a file that begins with -----BEGIN TSS2 PRIVATE KEY-----",
    )
