"""The board's identity: its serial number and its host name."""

from __future__ import annotations

import socket
from pathlib import Path

# The device tree (Devicetree Specification 2.3, the root node) first: only root can read DMI.
_SOURCES = (
    "firmware/devicetree/base/serial-number",
    "class/dmi/id/product_serial",
    "class/dmi/id/board_serial",
    "class/dmi/id/chassis_serial",
)
_LONGEST = 64
# What makers leave there if they fill in nothing; compared without spaces, dots and hyphens.
_NO_SERIALS = frozenset(
    {
        "",
        "none",
        "null",
        "unknown",
        "default",
        "defaultstring",
        "notapplicable",
        "notspecified",
        "tobefilledbyoem",
        "systemserialnumber",
        "serialnumber",
        "123456789",
        "0123456789",
    }
)


def serial_number(system: Path = Path("/sys")) -> str | None:
    """The board's serial number; None if there is none that we can read.

    Args:
        system: where sysfs is.
    """
    for source in _SOURCES:
        try:
            with (system / source).open("rb") as file:
                data = file.read(_LONGEST + 1)
        except OSError:
            continue
        # The device tree ends its strings with a NUL.
        text = data.rstrip(b"\0\n").decode("ascii", "replace").strip()
        if len(text) <= _LONGEST and text.isprintable() and _is_one(text):
            return text
    return None


def host_name() -> str:
    """The board's host name without its domain."""
    return socket.gethostname().partition(".")[0]


def _is_one(text: str) -> bool:
    plain = "".join(text.lower().split()).replace(".", "").replace("-", "")
    return plain not in _NO_SERIALS and len(set(plain)) > 1 and "\ufffd" not in text
