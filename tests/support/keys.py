"""Key files that real tools wrote with a simulated TPM, and public areas made by hand."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.asymmetric import ec

from tpmconsole.tpm.keyfile import TssKey
from tpmconsole.tpm.keyfile.policy import SignedPolicy, Step
from tpmconsole.tpm.model import KeyKind

# openssl genpkey -provider tpm2 -provider default -algorithm EC -pkeyopt group:P-256
OPENSSL_EC = b"""\
-----BEGIN TSS2 PRIVATE KEY-----
MIHwBgZngQUKAQOgAwEBAQIEQAAAAQRYAFYAIwALAAYAcgAAABAAEAADABAAICgm
PU0JqGQgnW5XMpwn8DDfM18YgoE/2WVhcjW7qmdEACDYAFZ3UvYRLp+xfLO/2etU
Odq1fG5Zkumgs/H20At7YQSBgAB+ACBuGYY49BDjdeiHSHE5yCjsbxoEdcCfh6b9
NqJXDu8TEwAQwTbIif0e84xnJJ7/YjbKqssFHfIS9yA3FhxQhf8zYhxMLJgTm8gZ
i1KFByLE5BoxbTQCa4S6xAUaDGfjWVcsV7uCvfQTicu4Byk+hpYfbJIruIB6m+5V
kz3W
-----END TSS2 PRIVATE KEY-----
"""

# The same with -algorithm RSA -pkeyopt bits:2048 -pkeyopt user-auth:abc
OPENSSL_RSA = b"""\
-----BEGIN TSS2 PRIVATE KEY-----
MIICEgYGZ4EFCgEDoAMBAQACBEAAAAEEggEYARYAAQALAAYAcgAAABAAEAgAAAAA
AAEAvYWfvd1rILELgsLDPBSWKf6gjTGc5bNLUMfnCzHmew/IxiKjkppaJ2WNe6KG
pVf97u0x4KgI/e97H/ECjuBzFcPv9Xc2th0fZoJSS+tA1lIOptkf5BPK1+9WNqjT
Syi938jelc1lGNDEKrfJ/DmC2S/8VHWsVH76ccxrj5T8ZN1cqyS87HJYEx20tOws
XE8HBV5jokFCO9KZXBdVDXUnrx4qOqTA4t+ia6kxEUWa3aW1w40c1sHFI43Rylvn
YVO8D0RicZa7MYOZ2LY0P7sGrLQJgaOPL0gEJcaG0DpypgT5A/2tUrMxjQcPtWmc
IFmchSJ9rhMVhxTV+pNjmCGL5wSB4ADeACBdoTi6Mh/7U43XIL1ut2u5bFa/DErC
/ZKcMFHWNrN00AAQncAO188oWJyp7Jt1mPu/ao1YpltkW0Poe7yp0oLP88Cv/gyk
bvesYyWdhQezXwQsDNcIXd4u3TFYYVNKytUY53SEO4S4xgycMY8E4YmZo1/eIGSW
zKWFmaodwlzxHAGeh1U5XlhDMk0RXasqEzqa+xt95qmWSqSsJVw4NCb+Rp0Txh1H
MTq+vHPQZbGgJ6IBgATJP2p1/ud/sDa8uajTGgOjDIgT7mGIad9WAXt2uFPYgc0N
hbcm48qd
-----END TSS2 PRIVATE KEY-----
"""

# tpm2_encodeobject -C 0x81000077 -u k.pub -r k.priv: no password, and emptyAuth says the opposite
ENCODEOBJECT_EC = b"""\
-----BEGIN TSS2 PRIVATE KEY-----
MIHxBgZngQUKAQOgAwEBAAIFAIEAAHcEWABWACMACwAGAHIAAAAQABAAAwAQACBR
7xym0NFp7mLPYGdW1F9J7a0W8+OIS+zJ/Go06EiDCQAgAgsoyWmrXlw25h0J73XJ
FDnR7JXO9j+FNI3+plEoy5IEgYAAfgAg8wNZeYv7VNAgTZcyXaXwNYDwR9j7/KC3
mDnv7LweBloAED3XVs1l16ALsGxmWuEsSRhWFM17fqrRtJAqfnu5yb3DHcIJN50u
O3+ni+6N1a9Bf4Ms3FAPIDTACamGxcnJAyXI5bFJppKqSMTw3Mlgsg/9G5UUijQN
+fAG/w==
-----END TSS2 PRIVATE KEY-----
"""

# tpm2_pytss.tsskey.TSSPrivKey.create_ecc(esapi).to_pem()
PYTSS_EC = b"""\
-----BEGIN TSS2 PRIVATE KEY-----
MIHwBgZngQUKAQOgAwEB/wIEQAAAAQRYAFYAIwALAAQEcgAAABAAEAADABAAIMCk
P8CC/7HzgATnIAn82r7OSxHGKe/pJ2TXaY7WsSCEACCsHgmz1n2RNyAz4wm2vRHf
iYRAdRZm0pRjK+FlHTLC0wSBgAB+ACCl91V5+9nDGjarUxyBgNRdWR2iJsap/z0u
k4OUBy0kHwAQDb4eaHWKrEbrqcVlePvk9Wo76I6uoLYxY22saVwlLAXol3w8VA+X
Ylq9O+nzwJBmK3MIAiiD5rcTfJQlm0GpugEJWufL+LteaBYg7VWv/Iocy2aRcge2
AUEg
-----END TSS2 PRIVATE KEY-----
"""

# fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, sign
SIGNING = 0x00040072
NULL = b"\x00\x10"
CURVES = {
    "P-192": (1, ec.SECP192R1()),
    "P-224": (2, ec.SECP224R1()),
    "P-256": (3, ec.SECP256R1()),
    "P-384": (4, ec.SECP384R1()),
    "P-521": (5, ec.SECP521R1()),
}


def sized(content: bytes) -> bytes:
    """A TPM2B structure."""
    return struct.pack(">H", len(content)) + content


def ec_area(curve: str, key: ec.EllipticCurvePublicKey, attributes: int = SIGNING) -> bytes:
    """TPMT_PUBLIC of an elliptic curve key."""
    numbers = key.public_numbers()
    point = b"".join(
        sized(number.to_bytes((key.key_size + 7) // 8, "big")) for number in (numbers.x, numbers.y)
    )
    head = struct.pack(">HHI", 0x23, 0x0B, attributes) + sized(b"")
    return head + NULL + NULL + struct.pack(">H", CURVES[curve][0]) + NULL + point


def sealed_area(attributes: int = 0x52) -> bytes:
    """TPMT_PUBLIC of sealed data."""
    return struct.pack(">HHI", 0x08, 0x0B, attributes) + sized(b"") + NULL + sized(b"\x01" * 32)


def full_key() -> TssKey:
    """An importable key with every optional field; only its form is true."""
    area = ec_area("P-256", ec.derive_private_key(7, ec.SECP256R1()).public_key(), 0x00040000)
    pcrs = bytes.fromhex("00000001 000b 03 810000") + b"\x55" * 32
    return TssKey(
        kind=KeyKind.IMPORTABLE,
        empty_auth=True,
        parent=0x81000001,
        public=area,
        private=b"\x33" * 126,
        policy=(Step(0x17F, pcrs), Step(0x16B)),
        secret=sized(b"\x44" * 64),
        auth_policy=(
            SignedPolicy("évening", (Step(0x151, b"\x01\x02"),)),
            SignedPolicy(None, (Step(0x1FF),)),
        ),
        description="gatewáy 7",
        rsa_parent=True,
    )
