"""Find out which commands a program sends to the TPM, from the capture of the TSS's pcap TCTI.

It wraps any other TCTI (``pcap:tabrmd:…``) and writes all traffic to a pcapng file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tpmconsole.tpm.model import Connection

_PACKET = 6  # an Enhanced Packet Block
_PORT = 2321  # the TPM's end of the TCP connection that the file simulates
_IP_AND_TCP = 40
# TPM 2.0 Part 2, 6.5.2
NAMES = {
    0x131: "CreatePrimary",
    0x153: "Import",
    0x157: "Load",
    0x159: "RSA_Decrypt",
    0x15D: "Sign",
    0x161: "ContextLoad",
    0x162: "ContextSave",
    0x165: "FlushContext",
    0x167: "LoadExternal",
    0x173: "ReadPublic",
    0x176: "StartAuthSession",
    0x177: "VerifySignature",
    0x178: "ECC_Parameters",
    0x17A: "GetCapability",
    0x17B: "GetRandom",
    0x17D: "Hash",
    0x186: "HashSequenceStart",
    0x13E: "SequenceComplete",
    0x15C: "SequenceUpdate",
}


def captured(connection: Connection, file: Path) -> Connection:
    """The same connection to the TPM, with all traffic written to a file."""
    environment = {**connection.environment, "TCTI_PCAP_FILE": str(file)}
    return Connection(f"pcap:{connection.tcti}", connection.why, connection.simulated, environment)


def commands(file: Path) -> list[str]:
    """The commands in the file, by their names, in order."""
    return [_name(packet) for packet in _packets(file.read_bytes()) if _is_command(packet)]


def _packets(data: bytes) -> Iterator[bytes]:
    start = 0
    while start + 12 <= len(data):
        kind, length = struct.unpack_from("<II", data, start)
        if start + length > len(data):
            return  # the file is still being written
        if kind == _PACKET:
            (captured_length,) = struct.unpack_from("<I", data, start + 20)
            yield data[start + 28 : start + 28 + captured_length]
        start += length


def _is_command(packet: bytes) -> bool:
    return len(packet) > _IP_AND_TCP + 9 and struct.unpack_from(">H", packet, 22)[0] == _PORT


def _name(packet: bytes) -> str:
    (code,) = struct.unpack_from(">I", packet, _IP_AND_TCP + 6)
    return NAMES.get(code, f"{code:#x}")
