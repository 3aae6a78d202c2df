"""Reads the block of a TSS2 key in a PEM file, about as strictly as OpenSSL does.

RFC 7468 defines PEM, RFC 1421 section 4.6 the headers in a block.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from tpmconsole.system.encodings import as_utf8
from tpmconsole.text import short
from tpmconsole.tpm.keyfile.errors import KeyFileError, damaged
from tpmconsole.tpm.primaries import MARKS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

LABEL = "TSS2 PRIVATE KEY"
_GUARD = re.compile(r"^-----(BEGIN|END) ([^\n]{0,64}?)-----[ \t]*$", re.MULTILINE)
_OLD = re.compile(r"TSS2 (?:[A-Z]+ )?BLOB")  # TSS2 KEY BLOB, TSS2 PRIVKEY BLOB v1
_MARK = "Primary key: "
_LABEL_REMEDY = f"make the first line -----BEGIN {LABEL}----- and the last -----END {LABEL}-----"


class Block(NamedTuple):
    """A PEM block: its label, and the lines between the guards; None if the end is missing."""

    label: str
    body: str | None


def is_old(label: str) -> bool:
    """Whether a label is one that TSS2 keys had before the present ``LABEL``."""
    return _OLD.match(label) is not None


def normalised(data: bytes) -> str:
    """The file as text with ``\\n`` line ends, in whatever encoding an editor saved it.

    Bytes that are not ASCII remain recognisable.
    """
    text = as_utf8(data).decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def blocks(text: str) -> Iterator[Block]:
    """Every PEM block of a normalised text, in order."""
    guards = list(_GUARD.finditer(text))
    for guard, following in zip_longest(guards, guards[1:]):
        if guard[1] != "BEGIN":
            continue
        closed = following is not None and following.groups() == ("END", guard[2])
        yield Block(guard[2], text[guard.end() : following.start()] if closed else None)


def find_key(text: str) -> bytes | None:
    """The DER in the first TSS2 block; None if there is no TSS2 block.

    Raises:
        KeyFileError: the label, the base64 or the end of the block is damaged.
    """
    for block in blocks(text):
        if block.label == LABEL:
            if block.body is None:
                raise _without_end(text)
            return content(block.body)
    meant = next(_meant(text), None)
    if meant is None:
        return None
    if _GUARD.fullmatch(meant):
        raise damaged("label", f"the line -----BEGIN {LABEL}----- is missing", _LABEL_REMEDY)
    indented = meant[:1] in (" ", "\t")
    remedy = "remove the spaces before each line" if indented else _LABEL_REMEDY
    raise damaged("label", f"the line '{short(meant, 60)}' is wrong", remedy)


def _meant(text: str) -> Iterator[str]:
    """Lines that were meant to be the first or last line of our block.

    A text may mention the label, and a script the variable TSS2_LOG, but not behind dashes.
    """
    for line in text.split("\n"):
        if "TSS2" not in line or _OLD.search(line) or len(line) > 200:
            continue
        bare = line.lstrip(" \t>-")
        begun = "--" in line[: len(line) - len(bare)]
        ended = line.rstrip().endswith("--")
        named = bare.startswith(("BEGIN", "END"))
        if (named and (begun or ended)) or (begun and bare.rstrip(" \t-").endswith("KEY")):
            yield line


def count_keys(text: str) -> int:
    """How many TSS2 blocks a normalised text has."""
    return sum(found.groups() == ("BEGIN", LABEL) for found in _GUARD.finditer(text))


def armour(der: bytes, mark: str = "") -> bytes:
    """A key as PEM: lines of 64 characters (RFC 7468, section 2).

    Args:
        mark: as in ``TssKey``; it is written before the block, where other programs skip text.
    """
    coded = base64.b64encode(der).decode("ascii")
    lines = [coded[at : at + 64] for at in range(0, len(coded), 64)]
    before = [f"{_MARK}{mark}"] if mark else []
    block = [f"-----BEGIN {LABEL}-----", *lines, f"-----END {LABEL}-----", ""]
    return "\n".join([*before, *block]).encode()


def public_key_pem(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    """A public key as PEM, SubjectPublicKeyInfo (RFC 7468, section 13)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def find_mark(text: str) -> str:
    """The mark before the first TSS2 block; empty if there is no known mark."""
    before, found, _ = text.partition(f"-----BEGIN {LABEL}-----")
    last = before.rstrip("\n").rpartition("\n")[2] if found else ""
    mark = last.removeprefix(_MARK) if last.startswith(_MARK) else ""
    return mark if mark in MARKS else ""


def _without_end(text: str) -> KeyFileError:
    last = [line for line in _meant(text) if "BEGIN" not in line]
    if last:
        return damaged("label", f"the last line is '{short(last[-1], 60)}'", _LABEL_REMEDY)
    return damaged("truncated", f"the line -----END {LABEL}----- is missing")


def content(body: str) -> bytes:
    """The bytes in a block.

    Raises:
        KeyFileError: its base64 is damaged, or the block is encrypted.
    """
    coded = "".join(_without_headers(body).split())
    try:
        return base64.b64decode(coded, validate=True)
    except ValueError as error:
        wrong = re.search(r"[^A-Za-z0-9+/=]", coded)
        if wrong:
            cause = f"there is a '{short(wrong[0], 8)}' among its characters"
        elif len(coded) % 4:
            cause = f"{-len(coded) % 4} of its characters are missing"
        else:
            cause = "its padding (=) is not at the end"
        raise damaged("base64", cause) from error


def start(body: str) -> bytes:
    """The first bytes in a block, as far as they can be read."""
    coded = "".join(body.split())[:24]
    try:
        return base64.b64decode(coded, validate=True)
    except ValueError:
        return b""


def _without_headers(body: str) -> str:
    """Leave out ``Name: value`` lines and their continuations, which end with an empty line."""
    lines = body.strip().split("\n")
    count = 0
    while count < len(lines) and (
        ":" in lines[count] or (count and lines[count][:1] in (" ", "\t"))
    ):
        count += 1
    if any("ENCRYPTED" in line for line in lines[:count]):
        raise damaged(
            "encryption",
            "the block is encrypted with its own passphrase",
            "decrypt the file with the tool that encrypted it; the TPM protects the key anyway",
        )
    return "\n".join(lines[count:])
