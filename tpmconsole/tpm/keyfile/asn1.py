"""TPMKey in ASN.1: "ASN.1 Specification for TPM 2.0 Key Files", draft-bottomley-tpm2-keys.

Importing this imports cryptography (40 ms), so ``keyfile`` does it when it finds the first key.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from tpmconsole.tpm.keyfile.errors import KeyFileError, damaged


@asn1.sequence
class _Box:
    """The content of an explicit tag, not decoded yet.

    An explicit tag around an element is encoded as a sequence of that element, with the tag in
    place of SEQUENCE's, and ``TLV`` itself cannot be optional.
    """

    value: asn1.TLV


@asn1.sequence
class PolicyStep:
    """TPMPolicy: a policy command, and its parameters in the TPM's own format."""

    code: Annotated[int, asn1.Explicit(0)]
    body: Annotated[bytes, asn1.Explicit(1)]


@asn1.sequence
class SignedPolicy:
    """TPMAuthPolicy: a policy that may replace another because its author signed it."""

    name: Annotated[str | None, asn1.Explicit(0)]
    steps: Annotated[list[PolicyStep], asn1.Explicit(1)]


@asn1.sequence
class _SignedPolicy:
    """TPMAuthPolicy, its name not decoded yet: the policy works even if that is not UTF-8."""

    name: Annotated[_Box | None, asn1.Implicit(0)]
    steps: Annotated[list[PolicyStep], asn1.Explicit(1)]


@asn1.sequence
class _Fields:
    """TPMKey with no field decoded yet, so that an error can name the field.

    This also allows 01 for BOOLEAN TRUE, which OpenSSL's encoder writes, while DER requires FF.
    """

    type: asn1.TLV
    empty_auth: Annotated[_Box | None, asn1.Implicit(0)]
    policy: Annotated[_Box | None, asn1.Implicit(1)]
    secret: Annotated[_Box | None, asn1.Implicit(2)]
    auth_policy: Annotated[_Box | None, asn1.Implicit(3)]
    description: Annotated[_Box | None, asn1.Implicit(4)]
    rsa_parent: Annotated[_Box | None, asn1.Implicit(5)]
    parent: asn1.TLV
    public: asn1.TLV
    private: asn1.TLV


@asn1.sequence
class _Policies:
    """TPMKey with its policies decoded: a list can only be decoded in place."""

    type: asn1.TLV
    empty_auth: Annotated[_Box | None, asn1.Implicit(0)]
    policy: Annotated[list[PolicyStep] | None, asn1.Explicit(1)]
    secret: Annotated[_Box | None, asn1.Implicit(2)]
    auth_policy: Annotated[list[_SignedPolicy] | None, asn1.Explicit(3)]
    description: Annotated[_Box | None, asn1.Implicit(4)]
    rsa_parent: Annotated[_Box | None, asn1.Implicit(5)]
    parent: asn1.TLV
    public: asn1.TLV
    private: asn1.TLV


@asn1.sequence
class TpmKey:
    """TPMKey as it is written."""

    type: ObjectIdentifier
    empty_auth: Annotated[bool | None, asn1.Explicit(0)]
    policy: Annotated[list[PolicyStep] | None, asn1.Explicit(1)]
    secret: Annotated[bytes | None, asn1.Explicit(2)]
    auth_policy: Annotated[list[SignedPolicy] | None, asn1.Explicit(3)]
    description: Annotated[str | None, asn1.Explicit(4)]
    rsa_parent: Annotated[bool | None, asn1.Explicit(5)]
    parent: int
    public: bytes
    private: bytes


def encode(key: TpmKey) -> bytes:
    """Encode as strict DER."""
    return asn1.encode_der(key)


def decode(der: bytes, remarks: list[str]) -> TpmKey:
    """Decode a TPMKey.

    Args:
        remarks: what is unusual but readable is added to it.

    Raises:
        KeyFileError: it is not a TPMKey; ``part`` is the field, ``structure`` or ``DER length``.
    """
    fields = _decode(_Fields, der, "structure")
    policies = None
    if fields.policy or fields.auth_policy:
        policies = _decode(_Policies, der, "policy")
    return TpmKey(
        type=_field(fields.type, ObjectIdentifier, "OID"),
        empty_auth=_boolean(fields.empty_auth, "emptyAuth"),
        policy=policies and policies.policy,
        secret=_optional(fields.secret, bytes, "secret"),
        auth_policy=policies
        and policies.auth_policy
        and [
            SignedPolicy(name=_text(one.name, "authPolicy", remarks), steps=one.steps)
            for one in policies.auth_policy
        ],
        description=_text(fields.description, "description", remarks),
        rsa_parent=_boolean(fields.rsa_parent, "rsaParent"),
        parent=_field(fields.parent, int, "parent"),
        public=_field(fields.public, bytes, "public area"),
        private=_field(fields.private, bytes, "private area"),
    )


_LAST_OPTIONAL = 5
_KINDS = {
    "ShortData": ("DER length", "a field is longer than the structure that it is in"),
    "InvalidLength": ("DER length", "a field's length is not in DER"),
    "UnexpectedTag": ("structure", "a field is missing, or one is unknown here"),
    "ExtraData": ("structure", "there are fields after the last one"),
    "InvalidTag": ("structure", "a field's tag is not valid"),
}


def _decode(schema: Any, der: bytes, part: str) -> Any:
    try:
        return asn1.decode_der(schema, der)
    except ValueError as error:
        raise _explained(error, part) from error


def _explained(error: ValueError, part: str) -> KeyFileError:
    """Explain the library's error; it names the kind of error, but not the place."""
    unknown = re.search(r"actual: Tag { value: (\d+), .*class: ContextSpecific", str(error))
    if unknown and int(unknown[1]) > _LAST_OPTIONAL:
        return damaged("structure", f"its field [{unknown[1]}] is unknown to this version")
    found = re.search(r"kind: (\w+)", str(error))
    kind, words = _KINDS.get(found[1] if found else "", (part, "its fields are not those of a key"))
    return damaged(part if part != "structure" else kind, words)


def _field(tlv: asn1.TLV, kind: type, part: str) -> Any:
    try:
        return tlv.parse(kind)
    except ValueError as error:
        raise damaged(part, "its ASN.1 value is not of the right type or not DER") from error


def _optional(box: _Box | None, kind: type, part: str) -> Any:
    return None if box is None else _field(box.value, kind, part)


# The types of text that end up in a file: UTF8String, PrintableString, T61String and IA5String.
_TEXTS = (b"\x0c", b"\x13", b"\x14", b"\x16")


def _text(box: _Box | None, part: str, remarks: list[str]) -> str | None:
    """Text for users only: whatever its encoding, it must not make a good key unreadable."""
    if box is None:
        return None
    if box.value.tag_bytes not in _TEXTS:
        raise damaged(part, "its ASN.1 value is not of the right type or not DER")
    data = bytes(box.value.data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        remarks.append(f"the text in its field {part} is not UTF-8")
        return data.decode("latin-1")


def _boolean(box: _Box | None, part: str) -> bool | None:
    """A BOOLEAN in BER: anything but 0 is TRUE (X.690, 8.2.2)."""
    if box is None:
        return None
    if box.value.tag_bytes != b"\x01" or len(box.value.data) != 1:
        raise damaged(part, "it is not a BOOLEAN")
    return box.value.data[0] != 0
