"""Certificate signing requests (PKCS #10, RFC 2986) that a CA accepts as they are."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tpmconsole.errors import usage_error
from tpmconsole.text import printable
from tpmconsole.x509.chain import PURPOSES, roles_of
from tpmconsole.x509.names import general_names, name_text, purposes, san_entry, san_texts
from tpmconsole.x509.request_spec import ROLES, UTF8, Line, RequestSpec
from tpmconsole.x509.san import parse_san
from tpmconsole.x509.schemes import PrivateKey, PublicKey, scheme_of
from tpmconsole.x509.subject import (
    field_name,
    openssl_text,
    parse_subject,
    string_type_of,
    subject_text,
)


def build(
    private_key: PrivateKey, spec: RequestSpec, fixed: str = ""
) -> x509.CertificateSigningRequest:
    """Make and sign the request.

    Key usage is digitalSignature alone, for RSA too: keyEncipherment serves the RSA key exchange,
    which TLS 1.3 dropped, and our keys are made to sign and not to decrypt.

    Args:
        private_key: the key, or anything else that implements cryptography's interface.
        fixed: the only scheme it was made for, as ``RSAPSS SHA-256``; empty where it is free.

    Raises:
        ConsoleError: the subject, a name or the role does not parse; whatever the key raises.
    """
    _check_role(spec.role)
    names = parse_san(spec.san)
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(parse_subject(spec.subject, spec.string_type))
        .add_extension(signature_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([PURPOSES[role] for role in roles_of(spec.role)]), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    scheme = scheme_of(private_key.public_key(), fixed)
    if isinstance(private_key, rsa.RSAPrivateKey):
        return builder.sign(private_key, scheme.algorithm, rsa_padding=scheme.rsa_padding)
    return builder.sign(private_key, scheme.algorithm)


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


def spec_of(owner: x509.Certificate | x509.CertificateSigningRequest) -> RequestSpec:
    """What asks for the same again: the subject, the alternative names and the role.

    Alternative names of kinds that a request here cannot ask for are left out.
    """
    allowed = purposes(owner)
    roles = [role for role, oid in PURPOSES.items() if allowed is None or oid in allowed]
    return RequestSpec(
        subject=subject_text(owner.subject),
        san=san_texts(general_names(owner)),
        role="both" if len(roles) != 1 else roles[0],
        string_type=string_type_of(owner.subject),
    )


def canonical(spec: RequestSpec) -> RequestSpec:
    """The same request in the one way that this module writes it, to compare with another.

    The string type is left out: it says the same names.

    Raises:
        ConsoleError: the subject, a name or the role does not parse.
    """
    _check_role(spec.role)
    names = parse_san(spec.san)
    return RequestSpec(
        subject=subject_text(parse_subject(spec.subject)),
        san=tuple(sorted(san_texts(names))),
        role=spec.role,
    )


def preview(spec: RequestSpec, key: PublicKey | None = None, fixed: str = "") -> list[Line]:
    """What will be asked of the CA, as label and value; nothing is asked that is not here.

    Args:
        key: where given, how the request will be signed is told as well.
        fixed: the only scheme the key was made for; empty where it is free.

    Raises:
        ConsoleError: the subject, a name or the role does not parse.
    """
    _check_role(spec.role)
    names = parse_san(spec.san)
    subject = parse_subject(spec.subject, spec.string_type)
    # In the order in which people write and read it, which is not the one of the encoding.
    shown = [
        (field_name(attribute.oid), printable(str(attribute.value)))
        for attribute in reversed(list(subject))
    ]
    # A CA shows one or the other, and whoever compares has to know which.
    shown += [("RFC 4514", name_text(subject)), ("OpenSSL", printable(openssl_text(subject), 400))]
    if spec.string_type != UTF8:
        shown.append(("String type", "PrintableString"))
    shown += [("SAN", san_entry(name)) for name in names]
    if "server" in roles_of(spec.role) and not any(
        isinstance(name, (x509.DNSName, x509.IPAddress)) for name in names
    ):
        shown.append(("SAN", "no DNS name or IP address: clients cannot check the server's name"))
    shown.append(("Key usage", "digitalSignature"))
    shown.append(("Extended usage", ", ".join(f"{one}Auth" for one in roles_of(spec.role))))
    if key is not None:
        shown.append(("Key", f"{_key_words(key)}, in the TPM"))
        shown.append(("Signed by", scheme_of(key, fixed).words(key)))
    return shown


def _key_words(key: PublicKey) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    # secp256r1 is what FIPS 186 calls P-256, and so on; brainpool curves have their own names.
    name = re.sub(r"secp(\d+)r1", r"P-\1", key.curve.name)
    return f"EC {name}"


def _check_role(role: str) -> None:
    if role not in ROLES:
        cause = f"'{printable(role, 40)}' is none"
        raise usage_error("Unknown role", cause, f"use one of {', '.join(ROLES)}")
