"""The commands that we send with passwords, in a salted session; named as in the TSS."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPMT_RSA_DECRYPT,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
)

from tpmconsole.secret import Password, Secret
from tpmconsole.tpm.worker.jobs.hmac_session import (
    HIDES_ANSWER,
    HIDES_BOTH,
    Command,
    Entity,
    HmacSession,
    sized,
    unsized,
)

# TPM_CC, Part 2, 6.5.2.
_EVICT_CONTROL, _CREATE_PRIMARY, _LOCK_RESET = 0x120, 0x131, 0x139
_CREATE, _IMPORT, _LOAD, _RSA_DECRYPT, _SIGN = 0x153, 0x156, 0x157, 0x159, 0x15D
_GET_RANDOM = 0x17B
_ACTIVATE_CREDENTIAL, _POLICY_SECRET = 0x147, 0x151
_HIERARCHIES = {
    ESYS_TR.OWNER: 0x40000001,
    ESYS_TR.NULL: 0x40000007,
    ESYS_TR.LOCKOUT: 0x4000000A,
    ESYS_TR.ENDORSEMENT: 0x4000000B,
    ESYS_TR.PLATFORM: 0x4000000C,
}
_NO_TICKET = bytes.fromhex("8024400000070000")  # an empty TPMT_TK_HASHCHECK
_NULL = bytes.fromhex("0010")  # TPM_ALG_NULL: no algorithm
_NO_DATA, _NO_PCRS = bytes(2), bytes(4)


# TPM_ALG_ID of the hashes in Names. A hierarchy's Name does not begin with any of them.
_HASHES = {0x0004: "sha1", 0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}


def fitting(password: Password | None, name_hash: int) -> Password | None:
    """A password as the TSS passes it to the TPM, which accepts at most one digest of bytes.

    A longer one is hashed, as other programs do that use the same keys through the TSS
    (Esys_Create, Esys_TR_SetAuth).
    """
    hash_name = _HASHES.get(name_hash)
    if password is None or hash_name is None:
        return password
    hashed = hashlib.new(hash_name, password)
    return Secret(hashed.digest()) if len(password) > hashed.digest_size else password


class SaltedCommands:
    """Commands in a session.

    Args:
        session: the session.
        password: of the first handle of each command, which the command authorises.
    """

    def __init__(self, esapi: ESAPI, session: HmacSession, password: Password | None) -> None:
        self._esapi = esapi
        self._session = session
        self._password = password

    def sign(self, key: ESYS_TR, digest: bytes, scheme: TPMT_SIG_SCHEME) -> TPMT_SIGNATURE:
        """TPM2_Sign (Part 3, 20.2); neither digest nor signature is secret."""
        parameters = sized(digest) + scheme.marshal() + _NO_TICKET
        signature, _ = TPMT_SIGNATURE.unmarshal(self._run(_SIGN, [key], parameters)[1])
        return signature

    def rsa_decrypt(self, key: ESYS_TR, data: bytes, scheme: TPMT_RSA_DECRYPT) -> bytes:
        """TPM2_RSA_Decrypt (Part 3, 14.3), applied to the padded data to sign."""
        parameters = sized(data) + scheme.marshal() + _NO_DATA
        return unsized(self._run(_RSA_DECRYPT, [key], parameters)[1])[0]

    def create(
        self, parent: ESYS_TR, password: Password | None, public: TPM2B_PUBLIC
    ) -> tuple[bytes, TPM2B_PUBLIC]:
        """TPM2_Create (Part 3, 12.1) with a password; returns private part and public area."""
        password = fitting(password, public.publicArea.nameAlg)
        size = len(password or b"")
        # TPM2B_SENSITIVE_CREATE: the password, and no data. It is encrypted in place.
        sizes = (size + 4).to_bytes(2, "big") + size.to_bytes(2, "big")
        rest = _NO_DATA + public.marshal() + _NO_DATA + _NO_PCRS
        parameters = bytearray(sizes + bytes(size) + rest)
        try:
            memoryview(parameters)[4 : 4 + size] = memoryview(password or b"")
            _, answer = self._run(_CREATE, [parent], parameters, hides=HIDES_BOTH)
        finally:
            parameters[:] = bytes(len(parameters))
        private, answer = unsized(answer)
        return private, TPM2B_PUBLIC.unmarshal(answer)[0]

    def import_(
        self,
        parent: ESYS_TR,
        public: TPM2B_PUBLIC,
        wrapped: TPM2B_PRIVATE,
        seed: TPM2B_ENCRYPTED_SECRET,
    ) -> bytes:
        """TPM2_Import (Part 3, 13.3) without an inner wrapper; returns the private part."""
        parameters = _NO_DATA + public.marshal() + wrapped.marshal() + seed.marshal() + _NULL
        return unsized(self._run(_IMPORT, [parent], parameters, hides=HIDES_BOTH)[1])[0]

    def load(self, parent: ESYS_TR, private: TPM2B_PRIVATE, public: TPM2B_PUBLIC) -> ESYS_TR:
        """TPM2_Load (Part 3, 12.2)."""
        parameters = private.marshal() + public.marshal()
        return self._made(_LOAD, parent, parameters)

    def create_primary(self, hierarchy: ESYS_TR, public: TPM2B_PUBLIC) -> ESYS_TR:
        """TPM2_CreatePrimary (Part 3, 24.1) of a key without a password."""
        nothing = TPM2B_SENSITIVE_CREATE().marshal()
        parameters = nothing + public.marshal() + _NO_DATA + _NO_PCRS
        return self._made(_CREATE_PRIMARY, hierarchy, parameters)

    def evict_control(self, hierarchy: ESYS_TR, key: ESYS_TR, handle: int) -> None:
        """TPM2_EvictControl (Part 3, 28.5)."""
        self._run(_EVICT_CONTROL, [hierarchy, key], handle.to_bytes(4, "big"))

    def dictionary_attack_lock_reset(self, lockout: ESYS_TR) -> None:
        """TPM2_DictionaryAttackLockReset (Part 3, 25.2)."""
        self._run(_LOCK_RESET, [lockout], b"")

    def get_random(self) -> None:
        """TPM2_GetRandom (Part 3, 16.1), whose result is ignored."""
        self._run(_GET_RANDOM, [], b"\0\x08", hides=HIDES_ANSWER)

    def policy_secret(self, hierarchy: ESYS_TR, policy: int) -> None:
        """TPM2_PolicySecret (Part 3, 23.4): whoever has the policy session knows the password.

        Args:
            policy: the policy session's handle, which is its name as well.
        """
        session = Entity(policy, policy.to_bytes(4, "big"))
        nothing = bytes(3 * 2 + 4)  # no nonce, no parameters, no reference; it does not expire
        self._run(_POLICY_SECRET, [hierarchy, session], nothing)

    def activate_credential(
        self, key: ESYS_TR, endorsement: ESYS_TR, credential: bytes, secret: bytes, second: bytes
    ) -> bytes:
        """TPM2_ActivateCredential (Part 3, 12.5): what is sealed for this key and this TPM.

        Args:
            credential: TPM2B_ID_OBJECT.
            secret: TPM2B_ENCRYPTED_SECRET.
            second: the authorisation of the endorsement key, as it is sent.
        """
        _, answer = self._run(
            _ACTIVATE_CREDENTIAL,
            [key, endorsement],
            credential + secret,
            hides=HIDES_ANSWER,
            more=second,
        )
        return unsized(answer)[0]

    def _made(self, code: int, above: ESYS_TR, parameters: bytes) -> ESYS_TR:
        """Run a command that loads an object; returns the TSS's number for it."""
        number, _ = self._run(code, [above], parameters, hides=HIDES_BOTH, gives_handle=True)
        return self._esapi.tr_from_tpmpublic(number)

    def _run(
        self,
        code: int,
        handles: Sequence[ESYS_TR | Entity],
        parameters: bytes | bytearray,
        *,
        hides: int = 0,
        gives_handle: bool = False,
        more: bytes = b"",
    ) -> tuple[int, bytes]:
        if not isinstance(parameters, bytearray):
            parameters = bytearray(parameters)
        command = Command(
            code, [self._entity(one) for one in handles], parameters, hides, gives_handle, more
        )
        name_hash = int.from_bytes(command.entities[0].name[:2], "big") if handles else 0
        password = fitting(self._password, name_hash)
        return self._session.run(self._esapi.send, command, password)

    def _entity(self, handle: ESYS_TR | Entity) -> Entity:
        if isinstance(handle, Entity):
            return handle
        number = _HIERARCHIES.get(handle)
        if number is not None:
            return Entity(number, number.to_bytes(4, "big"))
        entity: Entity = self._esapi.entity(handle)
        return entity
