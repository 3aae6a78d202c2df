"""The block of a TSS2 key in a PEM file, strictly: what OpenSSL would not read is damaged.

RFC 7468 says what PEM looks like, RFC 1421 section 4.6 what headers in a block look like.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

from tpmconsole.text import short
from tpmconsole.tpm.keyerrors import damaged

LABEL = "TSS2 PRIVATE KEY"
_BEGIN = re.compile(r"^-----BEGIN ([^\n]{0,64}?)-----[ \t]*$", re.MULTILINE)
# A line that was meant to be the first or the last of our block.
_MEANT = re.compile(r"^(?=[^\n]*--)[^\n]*(?:TSS2|BEGIN TPM)[^\n]*$", re.MULTILINE)
_LABEL_REMEDY = f"make the first line -----BEGIN {LABEL}----- and the last -----END {LABEL}-----"


class Block(NamedTuple):
    """A PEM block: its label and the lines between the guards; None where the end is missing."""

    label: str
    body: str | None


def normalised(data: bytes) -> str:
    """The file as text with ``\\n`` as line end; bytes that are not ASCII stay recognisable."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def blocks(text: str) -> Iterator[Block]:
    """Every PEM block of a normalised text, in its order."""
    at = 0
    while found := _BEGIN.search(text, at):
        end = re.compile(rf"^-----END {re.escape(found[1])}-----[ \t]*$", re.MULTILINE)
        closed = end.search(text, found.end())
        following = _BEGIN.search(text, found.end())
        if closed is None or (following and following.start() < closed.start()):
            yield Block(found[1], None)
            at = found.end()
        else:
            yield Block(found[1], text[found.end() : closed.start()])
            at = closed.end()


def find_key(text: str) -> bytes | None:
    """The DER in the first TSS2 block; None where the text has no such block.

    Raises:
        KeyFileError: the label, the base64 or the end of the block is damaged.
    """
    for block in blocks(text):
        if block.label == LABEL:
            if block.body is None:
                raise _without_end(text)
            return content(block.body)
    meant = _MEANT.search(text)
    if meant and "TSS2 KEY BLOB" not in meant[0]:
        indented = meant[0] != meant[0].lstrip()
        remedy = "remove the spaces before each line" if indented else _LABEL_REMEDY
        raise damaged("label", f"the line '{short(meant[0], 60)}' is not as it must be", remedy)
    return None


def count_keys(text: str) -> int:
    """How many TSS2 blocks a normalised text has."""
    return sum(found[1] == LABEL for found in _BEGIN.finditer(text))


def armour(der: bytes) -> bytes:
    """A key as PEM: lines of 64 characters (RFC 7468, section 2)."""
    coded = base64.b64encode(der).decode("ascii")
    lines = [coded[at : at + 64] for at in range(0, len(coded), 64)]
    return "\n".join([f"-----BEGIN {LABEL}-----", *lines, f"-----END {LABEL}-----", ""]).encode()


def _without_end(text: str) -> Exception:
    ends = [line for line in _MEANT.findall(text) if "BEGIN" not in line]
    if ends:
        cause = f"the last line is '{short(ends[-1], 60)}'"
        return damaged("label", cause, _LABEL_REMEDY)
    return damaged("truncated", "the line -----END TSS2 PRIVATE KEY----- is missing")


def content(body: str) -> bytes:
    """The bytes in a block.

    Raises:
        KeyFileError: its base64 is damaged, or the block is encrypted.
    """
    coded = "".join(_without_headers(body).split())
    try:
        return base64.b64decode(coded, validate=True)
    except binascii.Error as error:
        wrong = re.search(r"[^A-Za-z0-9+/=]", coded)
        if wrong:
            cause = f"there is a '{short(wrong[0], 8)}' among its characters"
        elif len(coded) % 4:
            cause = f"{4 - len(coded) % 4} of its characters are missing at the end"
        else:
            cause = "its padding (=) is not at the end"
        raise damaged("base64", cause) from error


def _without_headers(body: str) -> str:
    lines = body.strip("\n").split("\n")
    if ":" not in lines[0]:
        return body
    headers, _, rest = body.strip("\n").partition("\n\n")
    if "ENCRYPTED" in headers:
        raise damaged(
            "encryption",
            "the block is encrypted with a passphrase of its own",
            "decrypt the file with the tool that encrypted it; the TPM protects the key anyway",
        )
    return rest
