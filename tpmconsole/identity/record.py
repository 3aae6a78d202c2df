"""identity.toml: what is known about an identity besides its key and certificates."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tpmconsole.identity.attestation import Attestation
from tpmconsole.identity.pin import Pin, pin_of
from tpmconsole.inputs import parse_toml
from tpmconsole.text import printable

UNKNOWN = "unknown"
_WORDS = {
    "role": ("client", "server", "both"),
    "auth": ("none", "password"),
    "origin": ("tpm", "imported", "adopted"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """The fields of identity.toml.

    Attributes:
        algorithm: such as ``ec-p256``.
        created: ISO 8601 UTC.
        auth: ``none`` or ``password``: what the key requires.
        role: ``client``, ``server`` or ``both`` once a request was made.
        origin: ``tpm`` if the key was made in the TPM; ``imported`` if it existed outside;
            ``adopted`` if it was at its handle before the identity was created.
        renews: the identity whose certificate this identity's key was made to renew.
        attested, attested_chip, attested_endorsement, attested_certificate: the parts of an
            attestation, and the fingerprint of the certificate that came with it.
        key_name, key_sha256: the parts of the key's pin; None if it was never recorded.
        handed_to: where the last request was handed over; None until it was.
        handed_at: when, ISO 8601 UTC.
    """

    name: str
    algorithm: str = UNKNOWN
    created: str = ""
    auth: str = "none"
    role: str | None = None
    origin: str = "tpm"
    renews: str | None = None
    key_name: str | None = None
    key_sha256: str | None = None
    handed_to: str | None = None
    handed_at: str | None = None
    attested: str | None = None
    attested_chip: str | None = None
    attested_endorsement: str | None = None
    attested_certificate: str | None = None

    @property
    def attestation(self) -> Attestation | None:
        """How the key proved that it is in a TPM; None if it did not, or if parts are missing."""
        if self.attested is None or self.attested_endorsement is None:
            return None
        chip = printable(self.attested_chip or "")
        return Attestation(printable(self.attested), chip, printable(self.attested_endorsement))

    @property
    def pin(self) -> Pin | None:
        """The identity's key; None if it was never recorded."""
        return pin_of(self.key_name, self.key_sha256)


def format_record(record: Record) -> bytes:
    """The record as TOML 1.0: one flat table of basic strings."""
    pairs = ((field.name, getattr(record, field.name)) for field in fields(record))
    lines = [f"{key} = {_basic_string(value)}\n" for key, value in pairs if value is not None]
    return "".join(lines).encode()


def parse_record(data: bytes, name: str) -> tuple[Record, str | None]:
    """Read a record as far as it is readable.

    Args:
        data: identity.toml's content.
        name: the folder's name; it takes precedence over the name in the file.

    Returns:
        the record, and a description of what is wrong with the file, or None.
    """
    try:
        table: dict[str, Any] = parse_toml(data.decode())
    except ValueError as error:
        return Record(name), f"identity.toml is damaged: {printable(str(error))}"
    known = {field.name for field in fields(Record)} - {"name"}
    good = {key: value for key, value in table.items() if key in known and isinstance(value, str)}
    odd = [key for key, words in _WORDS.items() if good.get(key, words[0]) not in words]
    for key in odd:
        del good[key]
    if not _whole_pin(good):
        odd.append("pin of its key")
        for key in ("key_name", "key_sha256"):
            good.pop(key, None)
    missing = sorted({"algorithm", "created", "auth"} - good.keys())
    wrong = missing or odd
    problem = f"identity.toml has no valid {', '.join(wrong)}" if wrong else None
    return Record(name, **good), problem


def _whole_pin(table: dict[str, str]) -> bool:
    try:
        pin_of(table.get("key_name"), table.get("key_sha256"))
    except ValueError:
        return False
    return True


def _basic_string(text: str) -> str:
    """A TOML basic string: quotes, backslashes and control characters escaped."""
    escaped = (
        f"\\u{ord(char):04x}" if char in '"\\' or ord(char) < 0x20 or ord(char) == 0x7F else char
        for char in text
    )
    return f'"{"".join(escaped)}"'
