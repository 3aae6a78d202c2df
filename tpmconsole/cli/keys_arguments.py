"""Keys: list, create, persist, evict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tpmconsole.cli.parser import (
    add_command,
    if_missing_option,
    key_password_options,
    other_password_options,
    owner_password_option,
    password_option,
)
from tpmconsole.tpm.model import Algorithm


def add_commands(commands: Any) -> None:
    keys = add_command(
        commands,
        "keys",
        "list TSS2 key files and persistent handles",
        "tpmconsole keys /media/usb0 --prove",
    )
    keys.add_paths("paths", metavar="PATH", help="file or folder")
    keys.add_argument("--prove", action="store_true", help="let this TPM sign with each key")
    key_password_options(keys)
    other_password_options(keys)
    create = add_command(
        commands,
        "create",
        "make a key in the TPM, as a new identity",
        "tpmconsole create gateway --algorithm ec-p384",
    )
    create.add_argument("name", metavar="NAME")
    if_missing_option(create, "an identity of that name and kind is there")
    create.add_argument(
        "--algorithm",
        choices=[one.value for one in Algorithm],
        help=f"default: {Algorithm.EC_P256.value}",
    )
    password_option(create)
    owner_password_option(create)
    create.add_argument(
        "--no-lockout",
        action="store_true",
        help="wrong passwords of this key do not count towards the TPM's lock-out",
    )
    create.add_argument(
        "--handle", metavar="0x81...", help="keep it inside the TPM, at this handle"
    )
    create.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="import a private key that was made elsewhere (PEM or DER), instead of making one",
    )
    create.add_argument(
        "--from-password-file", type=Path, metavar="F", help="what FILE is encrypted with"
    )

    persist = add_command(
        commands,
        "persist",
        "move an identity's key to a persistent handle; its key file is removed, for good",
        "tpmconsole persist gateway 0x81000010 --yes",
    )
    persist.add_argument("name", metavar="NAME")
    persist.add_argument("handle", metavar="0x81...")
    persist.add_argument(
        "--yes", action="store_true", help="without it, only says what would be lost"
    )
    other_password_options(persist)
    evict = add_command(
        commands,
        "evict",
        "remove a persistent key from the TPM, for good",
        "tpmconsole evict 0x81000010 --yes",
    )
    evict.add_argument("handle", metavar="0x81...")
    evict.add_argument(
        "--yes", action="store_true", help="without it, only says what would be lost"
    )
    owner_password_option(evict)
    forget = add_command(
        commands,
        "forget",
        "remove an identity: its key file, certificate and trust; a key at a handle stays",
        "tpmconsole forget gateway --yes",
    )
    forget.add_argument("name", metavar="NAME")
    forget.add_argument(
        "--yes", action="store_true", help="without it, only says what would be lost"
    )
