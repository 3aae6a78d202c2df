"""The public areas of the keys that we create (Part 2, 12.2.4)."""

from __future__ import annotations

from tpm2_pytss import (
    TPM2_ALG,
    TPM2_ECC,
    TPM2B_PUBLIC,
    TPMA_OBJECT,
    TPMS_ECC_PARMS,
    TPMS_RSA_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_PUBLIC,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
    TPMU_PUBLIC_PARMS,
    TPMU_SYM_KEY_BITS,
    TPMU_SYM_MODE,
)

from tpmconsole.tpm.model import Algorithm

_CURVES = {Algorithm.EC_P256: TPM2_ECC.NIST_P256, Algorithm.EC_P384: TPM2_ECC.NIST_P384}
_RSA_BITS = {Algorithm.RSA_2048: 2048, Algorithm.RSA_3072: 3072}

# Made in this TPM, never leaves it, and is used with a password, which may be empty.
_MADE_HERE = TPMA_OBJECT.FIXEDTPM | TPMA_OBJECT.FIXEDPARENT | TPMA_OBJECT.SENSITIVEDATAORIGIN
_OURS = TPMA_OBJECT.USERWITHAUTH | _MADE_HERE


def storage_key(*, rsa: bool, zeros: bool = False, noda: bool = True) -> TPM2B_PUBLIC:
    """A primary key that stores others; by default the one that a hierarchy in a key file means.

    The default is the same as in tpm2-openssl and tpm2-pytss, so that each can load the others'
    keys.

    Args:
        rsa, zeros, noda: as in ``Parent``.
    """
    attributes = _OURS | TPMA_OBJECT.RESTRICTED | TPMA_OBJECT.DECRYPT
    if noda:
        attributes |= TPMA_OBJECT.NODA
    symmetric = TPMT_SYM_DEF_OBJECT(
        algorithm=TPM2_ALG.AES,
        keyBits=TPMU_SYM_KEY_BITS(aes=128),
        mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB),
    )
    if rsa:
        made = _rsa(2048, attributes, symmetric)
        if zeros:
            made.publicArea.unique.rsa = bytes(256)
        return made
    made = _ecc(TPM2_ECC.NIST_P256, attributes, symmetric)
    if zeros:
        made.publicArea.unique.ecc.x = made.publicArea.unique.ecc.y = bytes(32)
    return made


def signing_key(algorithm: Algorithm, *, protected: bool) -> TPM2B_PUBLIC:
    """A key that signs.

    Args:
        protected: whether wrong passwords count towards the lock-out (no noDA attribute).
    """
    return _signing(algorithm, _OURS, protected=protected)


def imported_key(algorithm: Algorithm, *, protected: bool) -> TPM2B_PUBLIC:
    """A key made elsewhere: TPM2_Import refuses attributes that claim it never left a TPM.

    Without a duplication policy it cannot leave this TPM again (Part 1, 23.2).
    """
    return _signing(algorithm, TPMA_OBJECT.USERWITHAUTH, protected=protected)


def _signing(algorithm: Algorithm, attributes: int, *, protected: bool) -> TPM2B_PUBLIC:
    attributes |= TPMA_OBJECT.SIGN_ENCRYPT
    if not protected:
        attributes |= TPMA_OBJECT.NODA
    none = TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL)
    if algorithm in _RSA_BITS:
        # Decrypt gives the raw operation: the TLS library does the padding.
        return _rsa(_RSA_BITS[algorithm], attributes | TPMA_OBJECT.DECRYPT, none)
    return _ecc(_CURVES[algorithm], attributes, none)


def _rsa(bits: int, attributes: int, symmetric: TPMT_SYM_DEF_OBJECT) -> TPM2B_PUBLIC:
    detail = TPMS_RSA_PARMS(
        symmetric=symmetric,
        scheme=TPMT_RSA_SCHEME(scheme=TPM2_ALG.NULL),
        keyBits=bits,
        exponent=0,
    )
    return _area(TPM2_ALG.RSA, attributes, TPMU_PUBLIC_PARMS(rsaDetail=detail))


def _ecc(curve: int, attributes: int, symmetric: TPMT_SYM_DEF_OBJECT) -> TPM2B_PUBLIC:
    detail = TPMS_ECC_PARMS(
        symmetric=symmetric,
        scheme=TPMT_ECC_SCHEME(scheme=TPM2_ALG.NULL),
        curveID=curve,
        kdf=TPMT_KDF_SCHEME(scheme=TPM2_ALG.NULL),
    )
    return _area(TPM2_ALG.ECC, attributes, TPMU_PUBLIC_PARMS(eccDetail=detail))


def _area(kind: int, attributes: int, parameters: TPMU_PUBLIC_PARMS) -> TPM2B_PUBLIC:
    area = TPMT_PUBLIC(
        type=kind,
        nameAlg=TPM2_ALG.SHA256,
        objectAttributes=attributes,
        authPolicy=b"",
        parameters=parameters,
    )
    return TPM2B_PUBLIC(publicArea=area)
