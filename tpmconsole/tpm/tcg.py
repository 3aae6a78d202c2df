"""The names that people use for the TCG's numbers."""

from __future__ import annotations

from typing import NamedTuple


class Curve(NamedTuple):
    """An elliptic curve.

    Attributes:
        name: as in the registry.
        size: bytes of a coordinate.
        openssl: the class in ``cryptography``; empty if there is no such class.
    """

    name: str
    size: int
    openssl: str = ""


# TCG Algorithm Registry, table 3 (TPM_ALG_ID).
ALGORITHMS = {
    0x0001: "RSA",
    0x0003: "3DES",
    0x0004: "SHA-1",
    0x0005: "HMAC",
    0x0006: "AES",
    0x0007: "MGF1",
    0x0008: "keyed hash",
    0x000A: "XOR",
    0x000B: "SHA-256",
    0x000C: "SHA-384",
    0x000D: "SHA-512",
    0x0012: "SM3-256",
    0x0013: "SM4",
    0x0014: "RSASSA",
    0x0015: "RSAES",
    0x0016: "RSAPSS",
    0x0017: "OAEP",
    0x0018: "ECDSA",
    0x0019: "ECDH",
    0x001A: "ECDAA",
    0x001B: "SM2",
    0x001C: "EC Schnorr",
    0x001D: "ECMQV",
    0x0020: "KDF1 SP800-56A",
    0x0021: "KDF2",
    0x0022: "KDF1 SP800-108",
    0x0023: "ECC",
    0x0025: "symmetric cipher",
    0x0026: "Camellia",
    0x0027: "SHA3-256",
    0x0028: "SHA3-384",
    0x0029: "SHA3-512",
    0x003F: "CMAC",
    0x0040: "CTR",
    0x0041: "OFB",
    0x0042: "CBC",
    0x0043: "CFB",
    0x0044: "ECB",
}

# TCG Algorithm Registry, table 4 (TPM_ECC_CURVE).
CURVES = {
    0x0001: Curve("NIST P-192", 24, "SECP192R1"),
    0x0002: Curve("NIST P-224", 28, "SECP224R1"),
    0x0003: Curve("NIST P-256", 32, "SECP256R1"),
    0x0004: Curve("NIST P-384", 48, "SECP384R1"),
    0x0005: Curve("NIST P-521", 66, "SECP521R1"),
    0x0010: Curve("BN P-256", 32),
    0x0011: Curve("BN P-638", 80),
    0x0020: Curve("SM2 P-256", 32),
    0x0040: Curve("Ed25519", 32),
    0x0041: Curve("Ed448", 57),
}

# Hashes as tpm2-tools, event logs and hashlib write them: the names of PCR banks.
HASHES = {
    0x0004: "sha1",
    0x000B: "sha256",
    0x000C: "sha384",
    0x000D: "sha512",
    0x0012: "sm3_256",
    0x0027: "sha3_256",
    0x0028: "sha3_384",
    0x0029: "sha3_512",
}
HASH_NUMBERS = {name: number for number, name in HASHES.items()}

# TCG Vendor ID Registry, TPM capabilities.
MANUFACTURERS = {
    "AMD": "AMD",
    "ANT": "Ant Group",
    "ATML": "Atmel",
    "BRCM": "Broadcom",
    "CSCO": "Cisco",
    "FLYS": "Flyslice",
    "GOOG": "Google",
    "HISI": "Huawei",
    "HPE": "HPE",
    "HPI": "HP Inc.",
    "IBM": "IBM",
    "IFX": "Infineon",
    "INTC": "Intel",
    "LEN": "Lenovo",
    "MSFT": "Microsoft",
    "NSG": "NSING",
    "NSM": "National Semiconductor",
    "NTC": "Nuvoton",
    "NTZ": "Nationz",
    "QCOM": "Qualcomm",
    "ROCC": "Rockchip",
    "SEAL": "Wisekey",
    "SECE": "SecEdge",
    "SMSC": "Microchip (SMSC)",
    "SMSN": "Samsung",
    "SNS": "Sinosun",
    "STM": "STMicroelectronics",
    "TXN": "Texas Instruments",
    "WEC": "Winbond",
}


def algorithm(number: int) -> str:
    """An algorithm's name, or its number if it is unknown here."""
    return ALGORITHMS.get(number, f"0x{number:04x}")


def curve(number: int) -> str:
    """A curve's name, or its number if it is unknown here."""
    known = CURVES.get(number)
    return known.name if known else f"0x{number:04x}"


def bank(number: int) -> str:
    """A PCR bank's name, or its number if it is unknown here."""
    return HASHES.get(number, f"0x{number:04x}")


def manufacturer(code: str, vendor: str) -> str:
    """The name of the chip's manufacturer.

    Args:
        code: the four letters of TPM_PT_MANUFACTURER without padding.
        vendor: the vendor strings, joined.
    """
    if code == "IBM" and vendor == "SW TPM":
        return "IBM software TPM (swtpm)"
    return MANUFACTURERS.get(code, code)


def firmware(code: str, high: int, low: int) -> str:
    """The firmware version in its vendor's notation.

    Args:
        code: the manufacturer's letters.
        high: TPM_PT_FIRMWARE_VERSION_1.
        low: TPM_PT_FIRMWARE_VERSION_2.
    """
    major, minor = high >> 16, high & 0xFFFF
    if code == "IBM":  # a date and a time, read as digits
        return f"{high:x}.{low:06x}"
    if code == "IFX":  # major.minor.build.certification
        return f"{major}.{minor}.{low >> 8}.{low & 0xFF}"
    return f"{major}.{minor}.{low >> 16}.{low & 0xFFFF}"
