"""Make certificate signing requests (PKCS #10, RFC 2986) that a CA accepts unchanged."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tpmconsole.errors import usage_error
from tpmconsole.text import printable
from tpmconsole.x509.chain import PURPOSES, allowed_roles, roles_of
from tpmconsole.x509.names import general_names, name_text, san_entry, san_texts
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

    Key usage is only digitalSignature, for RSA too: keyEncipherment is for the RSA key exchange,
    which TLS 1.3 has dropped, and tpmconsole makes keys that sign but do not decrypt.

    Args:
        private_key: the key, or anything else that implements cryptography's interface.
        fixed: the only scheme that the key may use, such as ``RSAPSS SHA-256``; empty if any.

    Raises:
        ConsoleError: the subject, a name or the role is not valid, or the key cannot sign.
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
    """The key usage of a certificate for authentication in TLS."""
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
    """Return what would request the same again: the subject, the alternative names and the role.

    Alternative names of kinds that tpmconsole cannot request are left out.
    """
    roles = allowed_roles(owner)
    return RequestSpec(
        subject=subject_text(owner.subject),
        san=san_texts(general_names(owner)),
        role="both" if len(roles) != 1 else roles[0],
        string_type=string_type_of(owner.subject),
    )


def canonical(spec: RequestSpec) -> RequestSpec:
    """Return the request in canonical form, for comparison with another.

    The string type is left out: the names are the same in either.

    Raises:
        ConsoleError: the subject, a name or the role is not valid.
    """
    _check_role(spec.role)
    names = parse_san(spec.san)
    return RequestSpec(
        subject=subject_text(parse_subject(spec.subject)),
        san=tuple(sorted(san_texts(names))),
        role=spec.role,
    )


def preview(spec: RequestSpec, key: PublicKey | None = None, fixed: str = "") -> list[Line]:
    """List everything that will be requested from the CA, as labels and values.

    Args:
        key: if given, the list also says how the request will be signed.
        fixed: the only scheme that the key may use; empty if any.

    Raises:
        ConsoleError: the subject, a name or the role is not valid.
    """
    _check_role(spec.role)
    names = parse_san(spec.san)
    subject = parse_subject(spec.subject, spec.string_type)
    # In the order in which people write it, which is the reverse of the encoding.
    shown = [
        (field_name(attribute.oid), printable(str(attribute.value)))
        for attribute in reversed(list(subject))
    ]
    # A CA shows one form or the other, and the user must compare like with like.
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
        cause = f"there is no role '{printable(role, 40)}'"
        raise usage_error("Unknown role", cause, f"use one of {', '.join(ROLES)}")
