"""A signing bridge: Python's ``ssl`` with a private key that OpenSSL never sees.

OpenSSL 3 still takes keys whose signing function is supplied from outside: an ``EC_KEY`` with an
``EC_KEY_METHOD``, an ``RSA`` with an ``RSA_METHOD``. Both get only the public half; when a
handshake needs a signature, OpenSSL calls us, and we call the holder of the key: a TPM, a card,
a service. No OpenSSL provider and no OpenSSL configuration is involved.

    bridge = Bridge(public_key, sign, raw_rsa)
    bridge.install(context, "chain.pem")      # instead of context.load_cert_chain
    ...
    except ssl.SSLError:
        failure = bridge.take_failure()       # the real error, if signing failed

This module and ``openssl`` need no other module: copied into any package, they work there.
"""

from __future__ import annotations

import ctypes
import os
import ssl
import weakref
from collections.abc import Callable
from ctypes import c_void_p
from functools import cache
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# Relative, unlike elsewhere: these two files must work unchanged in another package.
from .openssl import (
    BridgeError,
    BridgeUnavailable,
    EcSign,
    RsaPrivateEncrypt,
    context_pointer,
    functions,
    reasons,
)

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Sign = Callable[[bytes, str, str], bytes]
RawRsa = Callable[[bytes], bytes]

# cryptography's name of a curve: OpenSSL's name, the bytes of the digest that fits its order
_CURVES = {"secp256r1": (b"prime256v1", 32), "secp384r1": (b"secp384r1", 48)}
# By length. Not from system/sha2: this file imports nothing of the package.
_HASHES = {32: "sha256", 48: "sha384", 64: "sha512"}

_RSA_PKCS1_PADDING = 1
_RSA_NO_PADDING = 3
_FAILED_EC = 0
_FAILED_RSA = -1

# Keys that OpenSSL may ask us to sign with, by the address of their EC_KEY or RSA.
_bridges: weakref.WeakValueDictionary[int, Bridge] = weakref.WeakValueDictionary()
# A bridge lives at least as long as every context it was installed into.
_installed: weakref.WeakKeyDictionary[ssl.SSLContext, Bridge] = weakref.WeakKeyDictionary()


def unavailable() -> str | None:
    """Return why there can be no bridge in this interpreter; None if there can be one."""
    try:
        functions()
    except BridgeUnavailable as error:
        return error.cause
    return None


class Bridge:
    """One key for OpenSSL whose private half is elsewhere.

    Args:
        public_key: EC P-256, EC P-384 or RSA, from cryptography.
        sign: called with a digest, the name of its hash (``sha256`` …) and ``ecdsa``; returns the
            DER signature. It may raise anything: the handshake then fails, and ``take_failure``
            returns the exception.
        raw_rsa: the RSA private operation without padding, on as many bytes as the modulus has;
            None for a key that can only sign.

    Raises:
        BridgeUnavailable: the interpreter or its OpenSSL lacks what the bridge needs.
        BridgeError: a key that the bridge cannot serve.
    """

    def __init__(self, public_key: PublicKey, sign: Sign, raw_rsa: RawRsa | None) -> None:
        self._library = functions()
        self._sign = sign
        self._raw_rsa = raw_rsa
        self._failure: BaseException | None = None
        self._digest_size = 0
        self.signatures = 0
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            self._pkey, address = self._wrap_ec(public_key)
        elif isinstance(public_key, rsa.RSAPublicKey):
            if raw_rsa is None:
                raise sign_only()
            self._pkey, address = self._wrap_rsa(public_key)
        else:
            raise _unsupported(type(public_key).__name__)
        _bridges[address] = self
        # Contexts hold their own references to the EVP_PKEY; this releases ours.
        weakref.finalize(self, self._library.EVP_PKEY_free, self._pkey)

    def install(self, context: ssl.SSLContext, chain: str | os.PathLike[str]) -> None:
        """Give a context its certificate chain (PEM, leaf first) and this key.

        Raises:
            BridgeUnavailable: the layout of CPython's context is not the known one.
            BridgeError: the chain cannot be used, or does not belong to the key.
        """
        install_key(context, chain, self._pkey)
        _installed[context] = self

    def take_failure(self) -> BaseException | None:
        """Return why the last signature failed, and forget it; None if signing did not fail."""
        failure, self._failure = self._failure, None
        return failure

    def sign_ecdsa(self, digest: bytes) -> bytes:
        """Return a DER signature over a digest of any length (FIPS 186-5, 6.4.1)."""
        # ECDSA uses the digest's leftmost bits, as many as the curve's order has, as a number. So
        # a digest that is cut or padded with leading zeros gives the same signature, and the key's
        # holder only needs the hashes that every chip with this curve supports.
        digest = digest[: self._digest_size]
        if len(digest) not in _HASHES:
            digest = digest.rjust(self._digest_size, b"\0")
        self.signatures += 1
        return self._sign(digest, _HASHES[len(digest)], "ecdsa")

    def private_rsa(self, padded: bytes) -> bytes:
        """Do the private operation on a padded message that is as long as the modulus."""
        if self._raw_rsa is None:
            raise sign_only()
        self.signatures += 1
        return self._raw_rsa(padded)

    def keep_failure(self, failure: BaseException) -> None:
        """Keep the reason of a failed signature for ``take_failure``."""
        self._failure = failure

    def _wrap_ec(self, public_key: ec.EllipticCurvePublicKey) -> tuple[c_void_p, int]:
        if public_key.curve.name not in _CURVES:
            raise _unsupported(f"EC {public_key.curve.name}")
        name, self._digest_size = _CURVES[public_key.curve.name]
        point = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        library = self._library
        key = library.EC_KEY_new_by_curve_name(library.OBJ_txt2nid(name))
        try:
            done = (
                key
                and library.EC_KEY_set_method(key, _methods().ec) == 1
                and library.EC_KEY_oct2key(key, point, len(point), None) == 1
            )
            return self._pkey_of(key, library.EVP_PKEY_set1_EC_KEY, bool(done)), key or 0
        finally:
            library.EC_KEY_free(key)

    def _wrap_rsa(self, public_key: rsa.RSAPublicKey) -> tuple[c_void_p, int]:
        numbers, library = public_key.public_numbers(), self._library
        key = library.RSA_new()
        modulus, exponent = self._number(numbers.n), self._number(numbers.e)
        try:
            done = bool(key) and library.RSA_set_method(key, _methods().rsa) == 1
            if done and library.RSA_set0_key(key, modulus, exponent, None) == 1:
                modulus = exponent = None  # the key owns them now
            else:
                done = False
            return self._pkey_of(key, library.EVP_PKEY_set1_RSA, done), key or 0
        finally:
            library.BN_free(modulus)
            library.BN_free(exponent)
            library.RSA_free(key)

    def _pkey_of(self, key: int | None, set1: Any, done: bool) -> c_void_p:
        library = self._library
        pkey = library.EVP_PKEY_new()
        if not (done and pkey and set1(pkey, key) == 1):
            library.EVP_PKEY_free(pkey)
            raise BridgeUnavailable(f"OpenSSL refuses the key: {reasons(library)}")
        return c_void_p(pkey)

    def _number(self, value: int) -> int | None:
        data = value.to_bytes((value.bit_length() + 7) // 8, "big")
        number: int | None = self._library.BN_bin2bn(data, len(data), None)
        return number


def install_key(
    context: ssl.SSLContext, chain: str | os.PathLike[str], pkey: c_void_p | int
) -> None:
    """Give a context its certificate chain (PEM, leaf first) and an ``EVP_PKEY *``.

    Raises:
        BridgeUnavailable: the layout of CPython's context is not the known one.
        BridgeError: the chain cannot be used, or does not belong to the key.
    """
    library, pointer = functions(), context_pointer(context)
    library.ERR_clear_error()
    if library.SSL_CTX_use_certificate_chain_file(pointer, os.fsencode(chain)) != 1:
        raise BridgeError(
            "Certificate not loaded",
            f"OpenSSL refuses {os.fspath(chain)}: {reasons(library)}",
            "import the certificate again, with a key and signature of today's strength",
        )
    if (
        library.SSL_CTX_use_PrivateKey(pointer, pkey) != 1
        or library.SSL_CTX_check_private_key(pointer) != 1
    ):
        why = reasons(library)
        raise BridgeError(
            "Certificate and key do not belong together",
            f"the certificate's public key is not that of the key ({why})",
            "import the certificate that was issued for this key",
        )


def sign_only() -> BridgeError:
    """Return the error for an RSA key that lacks the raw private operation."""
    return BridgeError(
        "Key cannot be bridged",
        "the RSA key can only sign; TLS does the padding and needs the raw private operation, "
        "which the TPM allows only for keys with the decrypt attribute",
        "use tpm2-openssl 1.2 or newer with the key as a file (the provider engine), or an EC key",
    )


def _unsupported(kind: str) -> BridgeError:
    return BridgeError(
        "Key cannot be bridged",
        f"the bridge serves EC P-256, EC P-384 and RSA keys, not {kind}",
        "make a key of one of these kinds",
    )


# OpenSSL calls these functions. No exception must leave them: the caller is C code.


def _ec_sign(
    _type: int, digest: Any, length: int, out: Any, out_length: Any, _kinv: Any, _r: Any, key: int
) -> int:
    bridge = _bridges.get(key)
    if bridge is None:
        return _FAILED_EC
    try:
        signature = bridge.sign_ecdsa(ctypes.string_at(digest, length))
        if len(signature) > functions().ECDSA_size(key):
            raise ValueError(f"a signature of {len(signature)} bytes")  # noqa: TRY301 - kept below
        ctypes.memmove(out, signature, len(signature))
        out_length[0] = len(signature)
    except BaseException as failure:  # noqa: BLE001 - kept for the caller
        bridge.keep_failure(failure)
        return _FAILED_EC
    return 1


def _rsa_private_encrypt(length: int, data: Any, out: Any, key: int, padding: int) -> int:
    bridge = _bridges.get(key)
    if bridge is None:
        return _FAILED_RSA
    try:
        library = functions()
        size = library.RSA_size(key)
        block = (ctypes.c_ubyte * size)()
        if padding == _RSA_PKCS1_PADDING:
            padded = library.RSA_padding_add_PKCS1_type_1(block, size, data, length) == 1
        else:
            padded = padding == _RSA_NO_PADDING and length == size
            if padded:
                ctypes.memmove(block, data, size)
        if not padded:
            raise ValueError(f"padding {padding} of {length} bytes")  # noqa: TRY301 - kept below
        answer = bridge.private_rsa(bytes(block)).rjust(size, b"\0")
        if len(answer) != size:
            raise ValueError(f"an answer of {len(answer)} bytes")  # noqa: TRY301 - kept below
        ctypes.memmove(out, answer, size)
    except BaseException as failure:  # noqa: BLE001 - kept for the caller
        bridge.keep_failure(failure)
        return _FAILED_RSA
    return int(size)


@cache
def _methods() -> SimpleNamespace:
    # One table of each kind for the process, never freed: OpenSSL may free a key after all Python
    # objects are gone, and reads the key's table to free it. The callbacks are kept alive with
    # the tables.
    library = functions()
    ec_sign, private_encrypt = EcSign(_ec_sign), RsaPrivateEncrypt(_rsa_private_encrypt)
    ec_table = library.EC_KEY_METHOD_new(library.EC_KEY_OpenSSL())
    rsa_table = library.RSA_meth_dup(library.RSA_get_default_method())
    if not ec_table or not rsa_table:
        raise BridgeUnavailable(f"OpenSSL makes no key methods: {reasons(library)}")
    library.EC_KEY_METHOD_set_sign(ec_table, ec_sign, None, None)
    if library.RSA_meth_set_priv_enc(rsa_table, private_encrypt) != 1:
        raise BridgeUnavailable(f"OpenSSL makes no key methods: {reasons(library)}")
    return SimpleNamespace(ec=ec_table, rsa=rsa_table, callbacks=(ec_sign, private_encrypt))
