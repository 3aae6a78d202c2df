"""A TSS2 key: the content of its file as Python objects, and encoding them again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tpmconsole.tpm.keyfile import pem, public_area
from tpmconsole.tpm.keyfile.errors import damaged
from tpmconsole.tpm.keyfile.policy import SignedPolicy, Step, policy_words
from tpmconsole.tpm.model import KeyKind

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from tpmconsole.tpm.keyfile import asn1
    from tpmconsole.tpm.primaries import Parent

OWNER = 0x40000001  # TPM_RH_OWNER: the parent is the owner hierarchy's primary key
OIDS = {
    "2.23.133.10.1.3": KeyKind.LOADABLE,
    "2.23.133.10.1.4": KeyKind.IMPORTABLE,
    "2.23.133.10.1.5": KeyKind.SEALED,
}


@dataclass(frozen=True)
class TssKey:
    """A TSS2 key.

    Attributes:
        kind: loadable (TPM2_Load), importable (TPM2_Import first) or sealed data (TPM2_Unseal).
        empty_auth: the file says that the key needs no password. tpm2_encodeobject writes the
            opposite of the truth, so this is a hint, and the TPM's answer decides.
        parent: the parent's handle; 0x40000001 and similar stand for a hierarchy's primary key.
        public: TPMT_PUBLIC, the content of TPM2B_PUBLIC without its size.
        private: the content of TPM2B_PRIVATE without its size.
        policy: the policy's steps in order.
        secret: TPM2B_ENCRYPTED_SECRET with its size; importable keys have one.
        auth_policy: alternative policies signed by the author.
        rsa_parent: the hierarchy's primary key is the RSA one, not the EC one.
        mark: which of a hierarchy's other primary keys is the parent, one of ``primaries.MARKS``;
            empty if the format itself says it.
        remarks: what is unusual in the file, but readable.
    """

    kind: KeyKind
    empty_auth: bool
    parent: int
    public: bytes
    private: bytes
    policy: tuple[Step, ...] = ()
    secret: bytes | None = None
    auth_policy: tuple[SignedPolicy, ...] = ()
    description: str | None = None
    rsa_parent: bool = False
    mark: str = ""
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def area(self) -> public_area.PublicArea:
        """The public area, decoded.

        Raises:
            KeyFileError: it cannot be decoded; never for a key that ``parse`` returned.
        """
        try:
            return public_area.decode(self.public)
        except public_area.PublicAreaError as error:
            raise damaged("public area", str(error)) from error

    @property
    def algorithm(self) -> str:
        """``EC P-256``, ``RSA 2048``, ``sealed data`` …"""
        return self.area.algorithm

    @property
    def attributes(self) -> tuple[str, ...]:
        """Describes TPMA_OBJECT."""
        return self.area.words

    @property
    def has_noda(self) -> bool:
        """Whether wrong passwords do not count towards lock-out."""
        return self.area.has_noda

    @property
    def auth(self) -> str:
        """``none``, ``password`` or ``policy``, according to the file."""
        if not self.area.attributes & public_area.USER_WITH_AUTH:
            return "policy"
        return "none" if self.empty_auth else "password"

    @property
    def extra_fields(self) -> tuple[str, ...]:
        """Its optional fields that tpm2-openssl and tpm2-pytss refuse to read."""
        fields = {
            "policy": self.policy,
            "secret": self.secret is not None,
            "authPolicy": self.auth_policy,
            "description": self.description is not None,
            "rsaParent": self.rsa_parent,
        }
        return tuple(name for name, there in fields.items() if there)

    def below(self, parent: Parent) -> TssKey:
        """The same key, with its parent recorded in it."""
        rsa = parent.rsa and not parent.mark
        return replace(self, parent=parent.handle, rsa_parent=rsa, mark=parent.mark)

    @property
    def policy_words(self) -> tuple[str, ...]:
        return policy_words(self.policy, self.auth_policy)

    @cached_property
    def _public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        try:
            return self.area.public_key()
        except public_area.PublicAreaError as error:
            raise damaged("public area", str(error)) from error

    def public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        """The public key.

        Raises:
            KeyFileError: it has no public key (sealed data, HMAC keys), or cryptography does not
                know its kind.
        """
        return self._public_key

    def public_pem(self) -> bytes:
        """The public key as PEM, SubjectPublicKeyInfo; errors as ``public_key``."""
        return pem.public_key_pem(self.public_key())

    def to_der(self) -> bytes:
        """Encode the key in strict DER.

        emptyAuth is always written, although the specification prefers to leave FALSE out:
        tpm2-pytss cannot read a file without it.
        """
        from cryptography.x509 import ObjectIdentifier

        from tpmconsole.tpm.keyfile import asn1

        oid = next(oid for oid, kind in OIDS.items() if kind == self.kind)
        signed = [
            asn1.SignedPolicy(name=one.name, steps=_steps(one.steps)) for one in self.auth_policy
        ]
        return asn1.encode(
            asn1.TpmKey(
                type=ObjectIdentifier(oid),
                empty_auth=self.empty_auth,
                policy=_steps(self.policy) or None,
                secret=self.secret,
                auth_policy=signed or None,
                description=self.description,
                rsa_parent=self.rsa_parent or None,
                parent=self.parent,
                public=_sized(self.public),
                private=_sized(self.private),
            )
        )

    def to_pem(self) -> bytes:
        """Encode the key as PEM, which every tool reads."""
        return pem.armour(self.to_der(), self.mark)


def _steps(steps: Iterable[Step]) -> list[asn1.PolicyStep]:
    from tpmconsole.tpm.keyfile import asn1

    return [asn1.PolicyStep(code=one.code, body=one.body) for one in steps]


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content
