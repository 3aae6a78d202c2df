"""Open a key: load it into the TPM, ready to sign with its password."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPMT_RSA_DECRYPT,
    TPMT_SIG_SCHEME,
    TSS2_Exception,
)

from tpmconsole.errors import usage_error
from tpmconsole.secret import Password
from tpmconsole.system.sha2 import SHA2
from tpmconsole.tpm import keyfile, tcg
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.errors import KeyUnusableError
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.model import KeyRef
from tpmconsole.tpm.responses import Code, base, explain, refuses_password
from tpmconsole.tpm.worker.jobs import dictionary_attack, salted
from tpmconsole.tpm.worker.jobs.load_key import (
    loaded,
    persistent,
    salt_by_storage,
)
from tpmconsole.tpm.worker.jobs.salted import authorised

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

_SCHEMES = {
    "ecdsa": (TPM2_ALG.ECDSA, public_area.ECC),
    "rsassa": (TPM2_ALG.RSASSA, public_area.RSA),
    "rsapss": (TPM2_ALG.RSAPSS, public_area.RSA),
}


class LoadedKey:
    """A key that is loaded in the TPM.

    Attributes:
        area: its public area.
        password: its password, if any.
    """

    def __init__(
        self,
        esapi: ESAPI,
        handle: ESYS_TR,
        area: public_area.PublicArea,
        password: Password | None,
        *,
        says_none: bool,
    ) -> None:
        self._esapi = esapi
        self._handle = handle
        self.password = password
        self._says_none = says_none
        self.area = area

    def sign(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        """Sign a digest (TPM2_Sign); an ECDSA signature is returned as DER.

        Raises:
            ConsoleError: key, hash and scheme do not match.
            TSS2_Exception: the TPM refuses.
        """
        asked = TPMT_SIG_SCHEME()
        asked.scheme, asked.details.any.hashAlg = self._fitting(digest, hash_name, scheme)
        with self._authorised() as chip:
            return bytes(chip.sign(self._handle, digest, asked))

    @contextmanager
    def _authorised(self) -> Iterator[Any]:
        try:
            yield authorised(self._esapi, self.password)
        except TSS2_Exception as error:
            if not refuses_password(int(error.rc)):
                raise
            lockout = dictionary_attack.lockout(self._esapi)
            trouble = _password_trouble(
                error, self.password, says_none=self._says_none, counted=not lockout.off
            )
            if not self.area.has_noda and lockout.tries_left == 0:
                trouble = _locked(trouble)
            raise trouble from error

    def _fitting(self, digest: bytes, hash_name: str, scheme: str) -> tuple[int, int]:
        known = SHA2.get(hash_name)
        scheme_number, kind = _SCHEMES.get(scheme, (0, 0))
        if known is None or len(digest) != known.digest_size or kind != self.area.type:
            raise usage_error(
                "Not signed",
                f"{scheme}, {hash_name}, {len(digest)} bytes: not for {self.area.algorithm}",
                "use ecdsa with an EC key, rsassa or rsapss with an RSA key, and a whole digest",
            )
        return scheme_number, tcg.HASH_NUMBERS[hash_name]

    def raw_rsa(self, data: bytes) -> bytes:
        """Apply the RSA private operation to padded data of modulus length (TPM2_RSA_Decrypt).

        Raises:
            ConsoleError: the key is not an RSA key with the decrypt attribute.
            TSS2_Exception: the TPM refuses.
        """
        if self.area.type != public_area.RSA or not self.area.attributes & public_area.DECRYPT:
            raise KeyUnusableError(
                "cannot-sign",
                f"{self.area.algorithm} without the decrypt attribute has no raw operation",
                "create a new RSA key here, or use tpm2-openssl 1.2 or newer (engine provider)",
            )
        no_padding = TPMT_RSA_DECRYPT(scheme=TPM2_ALG.NULL)
        with self._authorised() as chip:
            done = chip.rsa_decrypt(self._handle, data, no_padding)
        return bytes(done).rjust(len(data), b"\0")

    def activate(
        self, endorsement: ESYS_TR, credential: bytes, secret: bytes, second: bytes
    ) -> bytes:
        """What a CA has sealed for this key and this TPM (TPM2_ActivateCredential).

        The role of the key is ADMIN there: its password is enough, unless it was made with
        adminWithPolicy (Part 1, 19.2.2).

        Args:
            endorsement: the endorsement key that it was sealed for.
            credential, secret, second: as in ``SaltedCommands.activate_credential``.

        Raises:
            ConsoleError: it is not the key's password.
            TSS2_Exception: the TPM refuses.
        """
        with self._authorised():
            chip = salted.commands(self._esapi, self.password)
            return chip.activate_credential(self._handle, endorsement, credential, secret, second)

    def public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        """The public key.

        Raises:
            ConsoleError: keys of this kind are not supported here.
        """
        return public_key_of(self.area)


def _password_trouble(
    error: TSS2_Exception, password: Password | None, *, says_none: bool, counted: bool
) -> KeyUnusableError:
    """Why the TPM refused the authorisation: a wrong password, or a missing one.

    Args:
        says_none: whether the key's file says that it has no password.
        counted: whether the TPM counts wrong passwords of keys without noDA.
    """
    words = explain(int(error.rc))
    answer, cause, remedy = "wrong-password", words.cause, words.remedy
    if base(int(error.rc)) == Code.AUTH_FAIL and not counted:
        cause = "the TPM refused the password, and did not count it: its lock-out is off"
        remedy = "check the password and try again"
    if not password:
        answer, what = "needs-password", "the key has a password"
        if says_none:
            what += ", although its file says that it has none"
        cause = f"{what}; {cause.replace('the password', 'an empty one', 1)}"
        remedy = "give the key's password"
    elif says_none:
        cause += "; the key's file says that it has none"
        remedy = "try without a password"
    return KeyUnusableError(answer, cause, remedy, response_code=int(error.rc), needs="key")


def _locked(trouble: KeyUnusableError) -> KeyUnusableError:
    """The same error after the last attempt."""
    return KeyUnusableError(
        trouble.answer,
        f"{trouble.cause}; it was the last: the TPM is locked now, even for the right password",
        "wait until attempts are forgiven (status shows when), or reset the lock-out",
        response_code=trouble.response_code,
        needs=trouble.needs,
    )


def public_key_of(area: public_area.PublicArea) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """The public key in a public area.

    Raises:
        ConsoleError: keys of this kind are not supported here.
    """
    try:
        return area.public_key()
    except public_area.PublicAreaError as error:
        raise KeyUnusableError("unsupported", str(error), "use an EC or RSA key") from error


def check_can_sign(area: public_area.PublicArea) -> None:
    """Refuse a key that can never sign our data, whatever its password.

    Raises:
        KeyUnusableError: it does not sign, or signs only what the TPM itself made, or only under
            its policy (Part 1, 19.2: without userWithAuth no password authorises a signature).
    """
    if area.is_sealed:
        cause = "it is sealed data, not a key"
    elif not area.attributes & public_area.SIGN:
        cause = "it was made to decrypt or to store, not to sign"
    elif area.attributes & (public_area.RESTRICTED | public_area.X509_ONLY):
        cause = "it signs only what the TPM itself made (an attestation key)"
    elif area.type not in (public_area.RSA, public_area.ECC):
        cause = f"{area.algorithm} has no public key to verify with"
    elif not area.attributes & public_area.USER_WITH_AUTH:
        raise KeyUnusableError(
            "policy",
            "it accepts no password to sign, only its policy",
            "use the program that knows the policy, or create a key with a password",
        )
    else:
        return
    raise KeyUnusableError("cannot-sign", cause, "use a key made for signing")


@dataclass(frozen=True, slots=True)
class Access:
    """A key and the authorisations for using it."""

    source: KeyRef
    auth: Auth = NO_AUTH

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Access:
        """Decode what the console sent with a job.

        Raises:
            ConsoleError: a password is longer than any TPM accepts.
        """
        return cls(KeyRef(**data["source"]), Auth.of(data["auth"]))

    def check_attempt(
        self, esapi: ESAPI, area: public_area.PublicArea, *, says_password: bool = False
    ) -> None:
        """Refuse to use up an attempt that the user did not ask for.

        Args:
            area: the key's public area, which shows whether a wrong password counts.
            says_password: whether its file says that it has a password.

        Raises:
            KeyUnusableError: a password is or may be needed, or a wrong one would lock the TPM.
        """
        auth = self.auth
        if auth.key is not None:
            if not auth.spend_last_attempt:
                dictionary_attack.check_last(esapi, area, "the key")
        elif says_password and not area.has_noda:
            cause = "the key's file says that it has a password"
            raise KeyUnusableError(
                "needs-password", cause, dictionary_attack.GIVE_KEYS, needs="key"
            )
        else:  # only an attempt would show whether it has one
            dictionary_attack.check_guess(esapi, area, "the key", try_empty=auth.try_empty)


@contextmanager
def open_key(esapi: ESAPI, access: Access) -> Iterator[LoadedKey]:
    """Open a key with its password; it is flushed at the end, whatever happens.

    Raises:
        ConsoleError: the file is damaged.
        KeyUnusableError: it can never sign our data; or a password is or may be needed, and the
            user did not agree to use up an attempt; or the parent cannot be used.
        TSS2_Exception: the TPM refuses.
    """
    source = access.source
    says_none = False
    with ExitStack() as stack:
        if source.pem is not None:
            key = keyfile.parse(source.pem)
            area, says_none = key.area, key.empty_auth
            check_can_sign(area)  # before asking for a password that would not help
            access.check_attempt(esapi, area, says_password=not key.empty_auth)
            handle = stack.enter_context(loaded(esapi, key, access.auth))
        else:
            assert source.handle is not None  # noqa: S101 - a source is one or the other
            handle, area = stack.enter_context(persistent(esapi, source.handle))
            check_can_sign(area)
            access.check_attempt(esapi, area)
            if access.auth.key:
                esapi.entity(handle, area.name)
                salt_by_storage(esapi, access.auth.owner)
        yield LoadedKey(esapi, handle, area, access.auth.key, says_none=says_none)
