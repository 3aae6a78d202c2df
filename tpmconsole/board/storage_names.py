"""Remember the storage key that each TPM had when it was first given something to keep.

Stored by TCTI: a TPM has no other name that an impostor could not give as well.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from tpmconsole.errors import ConsoleError
from tpmconsole.inputs import parse_json
from tpmconsole.system.files import make_private_folder, read_bounded, write_atomic
from tpmconsole.tpm.errors import STORAGE_NAMES
from tpmconsole.tpm.model import Connection

log = logging.getLogger(__name__)

_FILE_BYTES = 64 * 1024


def with_name(state: Path, connection: Connection) -> Connection:
    """The connection with the known name of its TPM's storage key."""
    return replace(connection, storage_name=_read(state).get(connection.tcti, ""))


def remember(state: Path, connection: Connection) -> None:
    """Store a key seen for the first time; if that fails, it is still unknown next time."""
    known = _read(state) | {connection.tcti: connection.storage_name}
    try:
        make_private_folder(state)
        write_atomic(state / STORAGE_NAMES, json.dumps(known, indent=1).encode() + b"\n")
    except ConsoleError as error:  # the TPM has already done what was asked
        log.warning("the TPM's storage key is not remembered: %s", error)


def _read(state: Path) -> dict[str, str]:
    """All known names. A damaged file counts as empty: a user who can write can also delete it."""
    path = state / STORAGE_NAMES
    if not path.exists():
        return {}
    try:
        names: Any = parse_json(read_bounded(path, _FILE_BYTES))
    except (ConsoleError, ValueError) as error:
        log.warning("%s: %s", path, error)
        return {}
    entries = names.items() if isinstance(names, dict) else ()
    return {tcti: name for tcti, name in entries if isinstance(name, str)}
