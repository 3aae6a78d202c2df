"""A key opened: in the TPM, ready to sign with its password."""

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
from tpmconsole.tpm.worker.jobs import dictionary_attack
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
    """A key that is in the TPM now.

    Attributes:
        area: its public area.
        password: what it is used with.
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
        """Sign a digest (TPM2_Sign); ECDSA's answer as DER.

        Raises:
            ConsoleError: key, hash and scheme do not fit together.
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
        """The private operation on padded data as long as the modulus (TPM2_RSA_Decrypt).

        Raises:
            ConsoleError: the key is no RSA key that may decrypt.
            TSS2_Exception: the TPM refuses.
        """
        if self.area.type != public_area.RSA or not self.area.attributes & public_area.DECRYPT:
            raise KeyUnusableError(
                "cannot-sign",
                f"{self.area.algorithm} without the decrypt attribute has no raw operation",
                "make a new RSA key here, or use tpm2-openssl 1.2 or newer (engine provider)",
            )
        no_padding = TPMT_RSA_DECRYPT(scheme=TPM2_ALG.NULL)
        with self._authorised() as chip:
            done = chip.rsa_decrypt(self._handle, data, no_padding)
        return bytes(done).rjust(len(data), b"\0")

    def public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        """The public key.

        Raises:
            ConsoleError: it has none that is known here.
        """
        return public_key_of(self.area)


def _password_trouble(
    error: TSS2_Exception, password: Password | None, *, says_none: bool, counted: bool
) -> KeyUnusableError:
    """Why the TPM refused the authorisation: tell the wrong password from the missing one.

    Args:
        says_none: the key's file says that it has no password.
        counted: the TPM counts wrong passwords of keys that have no noDA.
    """
    words = explain(int(error.rc))
    answer, cause, remedy = "wrong-password", words.cause, words.remedy
    if base(int(error.rc)) == Code.AUTH_FAIL and not counted:
        cause = "the TPM refused the password, and counts none: its lock-out is switched off"
        remedy = "check the password and try again"
    if not password:
        answer, what = "needs-password", "the key has a password"
        if says_none:
            what += ", though its file says that it has none"
        cause = f"{what}; {cause.replace('the password', 'an empty one', 1)}"
        remedy = "give the key's password"
    elif says_none:
        cause += "; the key's file says that it has none"
        remedy = "try without a password"
    return KeyUnusableError(answer, cause, remedy, response_code=int(error.rc), needs="key")


def _locked(trouble: KeyUnusableError) -> KeyUnusableError:
    """The same where it was the last try."""
    return KeyUnusableError(
        trouble.answer,
        f"{trouble.cause}; it was the last: the TPM is locked now, for the right password, too",
        "wait until tries are forgiven (status shows how long), or reset the lock-out",
        response_code=trouble.response_code,
        needs=trouble.needs,
    )


def public_key_of(area: public_area.PublicArea) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """The public key in a public area.

    Raises:
        ConsoleError: it has none that is known here.
    """
    try:
        return area.public_key()
    except public_area.PublicAreaError as error:
        raise KeyUnusableError("unsupported", str(error), "use an EC or RSA key") from error


def check_can_sign(area: public_area.PublicArea) -> None:
    """Refuse a key that can never sign what we give it, whatever its password.

    Raises:
        KeyUnusableError: it does not sign, or only what the TPM itself has made, or only under its
            policy (Part 1, 19.2: without userWithAuth no password authorises a signature).
    """
    if area.is_sealed:
        cause = "it is sealed data, no key"
    elif not area.attributes & public_area.SIGN:
        cause = "it was made to decrypt or to store, not to sign"
    elif area.attributes & (public_area.RESTRICTED | public_area.X509_ONLY):
        cause = "it signs only what the TPM itself has made (an attestation key)"
    elif area.type not in (public_area.RSA, public_area.ECC):
        cause = f"{area.algorithm} does not sign for others"
    elif not area.attributes & public_area.USER_WITH_AUTH:
        raise KeyUnusableError(
            "policy",
            "it takes no password to sign, only its policy",
            "use the program that knows the policy, or create a key with a password",
        )
    else:
        return
    raise KeyUnusableError("cannot-sign", cause, "use a key made for signing")


@dataclass(frozen=True, slots=True)
class Access:
    """A key and what is known to use it."""

    source: KeyRef
    auth: Auth = NO_AUTH

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Access:
        """What the console sent with a job.

        Raises:
            ConsoleError: a password is longer than any TPM takes.
        """
        return cls(KeyRef(**data["source"]), Auth.of(data["auth"]))

    def check_attempt(
        self, esapi: ESAPI, area: public_area.PublicArea, *, says_password: bool = False
    ) -> None:
        """Stop before an attempt is spent that nobody asked for.

        Args:
            area: the key's public area, which alone tells whether a wrong password counts.
            says_password: its file says that it has one.

        Raises:
            KeyUnusableError: a password is needed or may be, or a wrong one would lock the TPM.
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
        else:  # only trying would tell
            dictionary_attack.check_guess(esapi, area, "the key", try_empty=auth.try_empty)


@contextmanager
def open_key(esapi: ESAPI, access: Access) -> Iterator[LoadedKey]:
    """A key in the TPM and its password; flushed at the end whatever happens.

    Raises:
        ConsoleError: the file is damaged.
        KeyUnusableError: it can never sign for us; or a password is needed or might be, and an
            attempt would be spent that nobody asked for; or the parent cannot be used.
        TSS2_Exception: the TPM refuses.
    """
    source = access.source
    says_none = False
    with ExitStack() as stack:
        if source.pem is not None:
            key = keyfile.parse(source.pem)
            area, says_none = key.area, key.empty_auth
            check_can_sign(area)  # before a password is asked for that would not help
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
