"""Says what a file is if it is not a TSS2 key."""

from __future__ import annotations

from tpmconsole.system.der_kinds import label_of
from tpmconsole.system.pem_labels import content, described
from tpmconsole.text import printable
from tpmconsole.tpm.keyfile.pem import blocks

_MAGICS = (
    (b"\xba\xdc\xc0\xde", "a TPM context or handle that tpm2-tools saved"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\x7fELF", "a program"),
    (b"\x1f\x8b", "gzip data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfe\xed\xfe\xed", "a Java key store"),
)


def describe(data: bytes, text: str) -> str:
    """What a file is, with its article.

    Args:
        data: its content.
        text: the same, as ``pem.normalised`` makes it.
    """
    if not data:
        return "empty"
    for block in blocks(text):
        if block.label != "EC PARAMETERS":  # OpenSSL writes them before the key itself
            return _labelled(block.label, block.body)
    for magic, words in _MAGICS:
        if data.startswith(magic):
            return words
    if data[0] == 0x30 and (known := describe_der(data)):
        return known
    if _is_public_area(data):
        return "only a public area (TPM2B_PUBLIC, as tpm2_create -u writes it)"
    return "text" if _is_text(data) else "binary data"


def describe_der(der: bytes) -> str | None:
    """What DER without a label is, with its article; None if it is not known here."""
    label = label_of(der)
    if label is None:
        return None
    # The format of a private key (PKCS#8, SEC 1, PKCS#1) is not distinguished.
    return described(label) if label.startswith("ENCRYPTED") else content(label).value


def _labelled(label: str, body: str | None) -> str:
    words = described(label) or f"a PEM file with the label '{printable(label, 40)}'"
    if body is None:
        return f"{words} without its last line"
    if "Proc-Type: 4,ENCRYPTED" in body:
        return f"{words}, encrypted"
    return words


def _is_public_area(data: bytes) -> bool:
    from tpmconsole.tpm.keyfile.public_area import PublicAreaError, decode

    if int.from_bytes(data[:2], "big") != len(data) - 2:
        return False
    try:
        decode(data[2:])
    except PublicAreaError:
        return False
    return True


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\n\r\f" for character in text)
