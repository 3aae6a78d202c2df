"""TSS2 key files: a key sealed to one TPM, kept as a file. Needs no TPM and no TSS.

The format is "ASN.1 Specification for TPM 2.0 Key Files" (draft-bottomley-tpm2-keys), as PEM with
the label ``TSS2 PRIVATE KEY`` or as DER.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError
from tpmconsole.system.files import read_bounded
from tpmconsole.system.pem_labels import described
from tpmconsole.text import printable
from tpmconsole.tpm.keyfile import pem, public_area
from tpmconsole.tpm.keyfile.errors import KeyFileError, damaged, old_format, something_else
from tpmconsole.tpm.keyfile.key import OIDS, OWNER, TssKey
from tpmconsole.tpm.keyfile.policy import SignedPolicy, Step
from tpmconsole.tpm.model import KeyFile, KeyKind

if TYPE_CHECKING:
    from tpmconsole.tpm.keyfile import asn1

__all__ = ["LIMIT", "KeyFileError", "TssKey", "describe", "inspect", "may_be_key", "parse"]

LIMIT = 64 * 1024  # bytes; the largest keys have about 3 kB
# id-tpmkey in DER: every TSS2 key has it among its first bytes.
_OID_PREFIX = bytes.fromhex("0606 6781 050a 01")
# 2.23.133.10.2, the OID of a loadable key before the TCG assigned 2.23.133.10.1.3.
_OLD_OID = bytes.fromhex("0605 6781 050a 02")
# "TSS2" in UTF-16 of either byte order.
_WIDE = b"T\0S\0S\x002"


_OLD_WORDS = "a TSS2 key in the format from before 2019"


def may_be_key(data: bytes) -> bool:
    """Whether ``parse`` might find a TSS2 key, even a damaged one; fast, for scanning folders.

    It overlooks only a PEM key with another tool's label, which has "TSS2" nowhere.
    """
    return b"TSS2" in data or _WIDE in data or _is_der_key(data) or _is_old_der(data)


def parse(data: bytes) -> TssKey:
    """Read a key file's content: PEM with any text around it, or DER.

    Raises:
        KeyFileError: it is damaged (``part`` says where) or is not a TSS2 key.
    """
    if len(data) > LIMIT:
        raise something_else(f"larger than any key: {len(data)} bytes")
    remarks: list[str] = []
    if _is_der_key(data):
        return _decoded(_whole(data, remarks), remarks)
    if _is_old_der(data):
        raise old_format(_OLD_WORDS)
    text = pem.normalised(data)
    der = pem.find_key(text)
    if der is None:
        raise _no_key(data, text)
    if b"TSS2" not in data:
        remarks.append("the file is UTF-16 text; other tools need plain text (ASCII)")
    if pem.count_keys(text) > 1:
        remarks.append("the file has more TSS2 keys; only the first one is used")
    return replace(_decoded(_whole(der, remarks), remarks), mark=pem.find_mark(text))


def _no_key(data: bytes, text: str) -> KeyFileError:
    from tpmconsole.tpm.keyfile import identify

    for block in pem.blocks(text):
        if block.body and _is_der_key(pem.start(block.body)):
            return damaged(
                "label",
                f"it is '{printable(block.label, 60)}' instead of {pem.LABEL}",
                "correct the first and the last line",
            )
        if pem.is_old(block.label):
            return old_format(described(block.label) or f"{_OLD_WORDS} ({block.label})")
    return something_else(identify.describe(data, text))


def _whole(der: bytes, remarks: list[str]) -> bytes:
    """Return only the outer SEQUENCE.

    The length is checked here because the decoder only says that it is wrong, and because OpenSSL
    reads keys that are followed by other bytes.
    """
    if len(der) < 2 or der[0] != 0x30:
        raise damaged("structure", "it does not begin with an ASN.1 SEQUENCE")
    if der[1] == 0x80:
        raise damaged(
            "DER length",
            "it is BER of indefinite length, not DER",
            "write the key again with a tool that writes DER",
        )
    size = der[1] & 0x7F if der[1] & 0x80 else 0
    length = int.from_bytes(der[2 : 2 + size], "big") if size else der[1]
    total = 2 + size + length
    if size > 4:
        raise damaged("DER length", f"it says that the length takes {size} bytes")
    if total > len(der):
        raise damaged("truncated", f"it has {len(der)} of {total} bytes")
    if _is_old_der(der):
        raise old_format(_OLD_WORDS)
    if total < len(der):
        remarks.append(f"{len(der) - total} bytes follow the key and are ignored")
    return der[:total]


def _decoded(der: bytes, remarks: list[str]) -> TssKey:
    from tpmconsole.tpm.keyfile import asn1

    try:
        found = asn1.decode(der, remarks)
    except KeyFileError as error:
        other = _mislabelled(der)
        if other:
            raise other from error
        raise
    kind = OIDS.get(found.type.dotted_string)
    if kind is None:
        raise _mislabelled(der) or damaged(
            "OID", f"its type {found.type.dotted_string} is not one of {', '.join(OIDS)}"
        )
    key = TssKey(
        kind=kind,
        empty_auth=bool(found.empty_auth),
        parent=_parent(found.parent, remarks),
        public=_unsized(found.public, "public area"),
        private=_unsized(found.private, "private area"),
        policy=_read(found.policy or []),
        secret=found.secret,
        auth_policy=tuple(
            SignedPolicy(one.name, _read(one.steps)) for one in found.auth_policy or []
        ),
        description=found.description,
        rsa_parent=bool(found.rsa_parent),
        remarks=tuple(remarks),
    )
    _check(key)
    if key.extra_fields:
        remarks.append(f"tpm2-openssl cannot read its field {', '.join(key.extra_fields)}")
        key = replace(key, remarks=tuple(remarks))
    return key


def _mislabelled(der: bytes) -> KeyFileError | None:
    """The error for a private key or a certificate under our label, if it is one."""
    from tpmconsole.tpm.keyfile import identify

    what = None if _is_der_key(der) else identify.describe_der(der)
    if what is None:
        return None
    return damaged("label", f"it says {pem.LABEL}, but what follows is {what}")


def _check(key: TssKey) -> None:
    """Refuse what any TPM would refuse, whatever keys it has."""
    if key.area.has_public_key:
        key.public_key()
    if not key.private:
        raise damaged("private area", "it is empty")
    if key.kind == KeyKind.SEALED and key.area.type != public_area.KEYEDHASH:
        raise damaged(
            "public area", f"it is that of {key.algorithm}, but the file holds sealed data"
        )
    if key.kind == KeyKind.IMPORTABLE and not key.secret:
        raise damaged("secret", "an importable key cannot be imported without it")


def _parent(number: int, remarks: list[str]) -> int:
    """The parent's handle: permanent, persistent or transient (Part 2, section 7.2)."""
    if -(2**31) <= number < 0:  # written with 32-bit integers; tpm2-openssl reads it too
        remarks.append("the parent's handle is written as a negative number")
        number += 2**32
    if number == 0:  # tpm2-openssl reads it as the owner hierarchy
        return OWNER
    if number >> 24 not in (0x40, 0x80, 0x81):
        raise damaged("parent", f"{number:#x} is not a handle of a parent key")
    return number


def _unsized(field_: bytes, part: str) -> bytes:
    """The content of a TPM2B structure."""
    size = int.from_bytes(field_[:2], "big")
    if len(field_) < 2 or size != len(field_) - 2:
        raise damaged(
            part, f"its size field says {size} bytes, but it has {max(len(field_) - 2, 0)}"
        )
    return field_[2:]


def _is_der_key(data: bytes) -> bool:
    return data[:1] == b"0" and _OID_PREFIX in data[:16]


def _is_old_der(data: bytes) -> bool:
    return data[:1] == b"0" and _OLD_OID in data[:16]


def _read(steps: Iterable[asn1.PolicyStep]) -> tuple[Step, ...]:
    read = tuple(Step(one.code, one.body) for one in steps)
    if any(not 0 <= step.code < 2**32 for step in read):
        raise damaged("policy", "a step's number is not a TPM command")
    return read


def inspect(path: Path) -> KeyFile:
    """What a file is and contains; never raises because of its content.

    A file that is missing, too large or not a regular file is ``unreadable``, with the reason.
    """
    try:
        return describe(path, read_bounded(path, LIMIT), path.stat().st_mode)
    except ConsoleError as error:
        reason = error.cause.removeprefix(f"{path}: ")
        return KeyFile(str(path), KeyKind.UNREADABLE, reason=reason)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return KeyFile(str(path), KeyKind.UNREADABLE, reason=str(error))


def describe(path: Path, data: bytes, st_mode: int) -> KeyFile:
    """What a file is and contains, if it has been read already.

    Args:
        path: where it is.
        data: its content.
        st_mode: its type and permissions, as ``os.stat`` returns them.
    """
    mode = f"{stat.S_IMODE(st_mode):04o}"
    try:
        key = parse(data)
    except KeyFileError as error:
        return KeyFile(str(path), error.kind, reason=error.cause, mode=mode)
    return KeyFile(
        path=str(path),
        kind=key.kind,
        algorithm=key.algorithm,
        parent=f"0x{key.parent:08x}",
        auth=key.auth,
        description=printable(key.description) if key.description else None,
        attributes=key.attributes,
        counts_towards_lockout=not key.has_noda,
        public_pem=key.public_pem().decode("ascii") if key.area.has_public_key else None,
        mode=mode,
        policy=key.policy_words,
        remarks=key.remarks,
        origin=key.area.origin if key.area.has_public_key else None,
    )
