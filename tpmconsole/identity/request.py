"""Certificate signing requests (PKCS #10, RFC 2986) that a CA accepts as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.identity.chain import PURPOSES, roles_of
from tpmconsole.identity.naming import san_entry
from tpmconsole.identity.san import parse_san
from tpmconsole.text import printable

__all__ = ["ROLES", "RequestSpec", "build", "parse_san", "parse_subject", "preview"]

ROLES = ("client", "server", "both")
SUBJECT_CHARACTERS = 2048

# Name, OID and upper bound in characters: X.520 as in RFC 5280, appendix A.1.
_FIELDS: tuple[tuple[str, ObjectIdentifier, int], ...] = (
    ("CN", NameOID.COMMON_NAME, 64),
    ("O", NameOID.ORGANIZATION_NAME, 64),
    ("OU", NameOID.ORGANIZATIONAL_UNIT_NAME, 64),
    ("C", NameOID.COUNTRY_NAME, 2),
    ("ST", NameOID.STATE_OR_PROVINCE_NAME, 128),
    ("L", NameOID.LOCALITY_NAME, 128),
    ("STREET", NameOID.STREET_ADDRESS, 128),
    ("DC", NameOID.DOMAIN_COMPONENT, 63),
    ("UID", NameOID.USER_ID, 256),
    ("serialNumber", NameOID.SERIAL_NUMBER, 64),
    ("emailAddress", NameOID.EMAIL_ADDRESS, 255),
)
_NAMES = {oid: name for name, oid, _ in _FIELDS}
_BOUNDS = {oid: bound for _, oid, bound in _FIELDS}
# Field names are the same in upper and lower case: RFC 4512, 2.5.
_ANY_CASE = {form: oid for name, oid, _ in _FIELDS for form in (name, name.lower(), name.upper())}
_MAY_REPEAT = (NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.DOMAIN_COMPONENT)
_ASCII_ONLY = (NameOID.DOMAIN_COMPONENT, NameOID.EMAIL_ADDRESS)
# X.680, 41.4: what a PrintableString holds.
_PRINTABLE_STRING = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
_BLANKS_AFTER_COMMA = re.compile(r"(?<!\\),\s+(?=[A-Za-z0-9.]+\s*=)")
_EXAMPLE = "write it as CN=gateway-1,O=Example,C=DE"


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """What a request asks for.

    Attributes:
        subject: RFC 4514, such as ``CN=gateway-1,O=Example``.
        san: ``dns:…``, ``ip:…``, ``uri:…`` and ``email:…``.
        role: ``client``, ``server`` or ``both``; decides the extended key usage.
    """

    subject: str
    san: tuple[str, ...] = ()
    role: str = "client"


def build(
    private_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    spec: RequestSpec,
    *,
    pss: bool = False,
) -> x509.CertificateSigningRequest:
    """Make and sign the request.

    Key usage is digitalSignature alone, for RSA too: keyEncipherment serves the RSA key exchange,
    which TLS 1.3 dropped, and our keys are made to sign and not to decrypt.

    Args:
        private_key: the key, or anything else that implements cryptography's interface.
        pss: sign with RSASSA-PSS, for an RSA key that does nothing else; else PKCS #1 v1.5, which
            every CA reads.

    Raises:
        ConsoleError: the subject, a name or the role does not parse; whatever the key raises.
    """
    _check_role(spec.role)
    names = parse_san(spec.san)
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(parse_subject(spec.subject))
        .add_extension(signature_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([PURPOSES[role] for role in roles_of(spec.role)]), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = _hash_for(private_key)
    if not isinstance(private_key, rsa.RSAPrivateKey):
        return builder.sign(private_key, algorithm)
    # The salt as long as the hash: what a TPM makes (TPM 2.0 Part 1, B.7) and TLS 1.3 asks for.
    scheme = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    return builder.sign(private_key, algorithm, rsa_padding=scheme if pss else padding.PKCS1v15())


def signature_usage(*, key_encipherment: bool = False) -> x509.KeyUsage:
    """Key usage of a certificate that authenticates in TLS."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def parse_subject(text: str) -> x509.Name:
    """A distinguished name in RFC 4514's form; blanks after commas are allowed.

    Raises:
        ConsoleError: it does not parse, is empty, or a field is too long or holds what it may not.
    """
    if len(text) > SUBJECT_CHARACTERS:
        cause = f"it has {len(text)} characters, more than {SUBJECT_CHARACTERS}"
        raise _bad_subject(cause, "shorten it")
    tidy = _BLANKS_AFTER_COMMA.sub(",", text.strip())
    if not tidy:
        raise _bad_subject("it is empty", _EXAMPLE)
    try:
        name = x509.Name.from_rfc4514_string(tidy, _ANY_CASE)
    except (ValueError, UnicodeError) as error:
        raise _why_not(tidy) from error
    seen: set[ObjectIdentifier] = set()
    for attribute in name:
        _check_field(attribute.oid, str(attribute.value))
        if attribute.oid in seen and attribute.oid not in _MAY_REPEAT:
            raise _bad_subject(f"{_field(attribute.oid)} is given twice", "leave one out")
        seen.add(attribute.oid)
    return name


def preview(spec: RequestSpec) -> list[tuple[str, str]]:
    """What will be asked of the CA, as label and value; nothing is asked that is not here.

    Raises:
        ConsoleError: the subject, a name or the role does not parse.
    """
    _check_role(spec.role)
    names = parse_san(spec.san)
    # In the order in which people write and read it, which is not the one of the encoding.
    shown = [
        (_field(attribute.oid), printable(str(attribute.value)))
        for attribute in reversed(list(parse_subject(spec.subject)))
    ]
    shown += [("SAN", san_entry(name)) for name in names]
    if "server" in roles_of(spec.role) and not any(
        isinstance(name, (x509.DNSName, x509.IPAddress)) for name in names
    ):
        shown.append(("SAN", "no DNS name or IP address: clients cannot check the server's name"))
    shown.append(("Key usage", "digitalSignature"))
    shown.append(("Extended usage", ", ".join(f"{one}Auth" for one in roles_of(spec.role))))
    return shown


def _check_role(role: str) -> None:
    if role not in ROLES:
        cause = f"'{printable(role, 40)}' is none"
        raise usage_error("Unknown role", cause, f"use one of {', '.join(ROLES)}")


def _hash_for(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """A hash as strong as the key; TLS 1.3 couples P-384 with SHA-384 (RFC 8446, 4.2.3)."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size >= 384:
        return hashes.SHA384()
    return hashes.SHA256()


def _field(oid: ObjectIdentifier) -> str:
    return _NAMES.get(oid, oid.dotted_string)


def _check_field(oid: ObjectIdentifier, value: str) -> None:
    field, bound = _field(oid), _BOUNDS.get(oid, SUBJECT_CHARACTERS)
    if not value.strip():
        raise _bad_subject(f"{field} is empty", f"give it a value or leave {field} out")
    if not value.isprintable():
        raise _bad_subject(f"{field} holds a control character", "leave it out")
    if oid == NameOID.COUNTRY_NAME and not re.fullmatch(r"[A-Z]{2}", value):
        cause = f"C is '{printable(value, 40)}', not a country's two capital letters"
        raise _bad_subject(cause, "write it as C=DE (ISO 3166)")
    if len(value) > bound:
        cause = f"{field} has {len(value)} characters, more than {bound}"
        raise _bad_subject(cause, "shorten it")
    if oid == NameOID.SERIAL_NUMBER and not _PRINTABLE_STRING.fullmatch(value):
        cause = "serialNumber is letters, digits, blanks and '()+,-./:=? only"
        raise _bad_subject(cause, "leave other characters out")
    if oid in _ASCII_ONLY and not value.isascii():
        raise _bad_subject(f"{field} is ASCII only", "write its ASCII form (xn--...)")


def _why_not(text: str) -> ConsoleError:  # noqa: PLR0911 - one return for each mistake
    """RFC 4514's parser says only no: find the part that it meant."""
    if text.startswith("/"):
        return _bad_subject("it begins with a slash, as OpenSSL writes subjects", _EXAMPLE)
    for part in re.split(r"(?<!\\)[,+]", text):
        field, equals, value = part.partition("=")
        shown = printable(part.strip(), 60)
        if not equals:
            cause = f"'{shown}' is not FIELD=value"
            return _bad_subject(cause, rf"{_EXAMPLE}; a comma in a value is written \,")
        if field not in _ANY_CASE and not re.fullmatch(r"\d+(\.\d+)+", field):
            cause = f"'{printable(field, 40)}' is no field"
            return _bad_subject(cause, f"use {', '.join(_NAMES.values())}")
        if field.lower() == "c" and len(value) != 2:
            cause = f"C is '{printable(value, 40)}', not a country's two capital letters"
            return _bad_subject(cause, "write it as C=DE (ISO 3166)")
        if not value:
            return _bad_subject(f"{field} is empty", f"give it a value or leave {field} out")
        if field.lower() == "cn" and len(value) > 64:
            return _bad_subject(f"CN has {len(value)} characters, more than 64", "shorten it")
    return _bad_subject(
        "a character in it has a meaning of its own",
        r"put a backslash before each of , + \" \ < > ; in a value",
    )


def _bad_subject(cause: str, remedy: str) -> ConsoleError:
    return usage_error("Subject not usable", cause, remedy)
