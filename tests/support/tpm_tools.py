"""Programs of others that use a TPM: tpm2-tools, and OpenSSL with the tpm2 provider."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tpmconsole.tpm.client import Tpm

Tool = Callable[..., None]
# What a key that others are below has, as tpm2_createprimary's option -a takes it.
STORAGE = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
# Unique fields of zeros, as its option -u reads them: TPMU_PUBLIC_ID as it stands in memory.
ZEROS = {
    "rsa": (256).to_bytes(2, "little") + bytes(256),
    "ecc": 2 * ((32).to_bytes(2, "little") + bytes(128)),
}


def tools(tpm: Tpm, folder: Path) -> Tool:
    """Runs a command of tpm2-tools, or of OpenSSL, in a folder, with the TPM."""
    tpm.health()  # reaches it, wherever it is
    connection = tpm.connection
    assert connection is not None
    environment = {
        "PATH": "/usr/bin:/bin",
        "TPM2TOOLS_TCTI": connection.tcti,
        "TPM2OPENSSL_TCTI": connection.tcti,
    }

    def tool(*command: str) -> None:
        done = subprocess.run(
            command,
            env=environment | dict(connection.environment),
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, (command, done.stderr)

    return tool


def key_below(tool: Tool, name: str, *primary: str, password: str = "") -> str:
    """A key below a primary key of tpm2_createprimary's; its file's name.

    The file says the owner hierarchy, as tpm2_encodeobject does of every primary key. What it says
    of the password is true: tpm2-tools 5 writes the opposite of what it was told.

    Args:
        primary: options for the primary key.
    """
    public, private, pem = f"{name}.pub", f"{name}.priv", f"{name}.pem"
    secret = ("-p", password) if password else ()
    flag = () if password else ("-p",)
    tool("tpm2_createprimary", "-Q", *primary, "-c", f"{name}.ctx")
    tool(
        "tpm2_create", "-Q", "-C", f"{name}.ctx", "-G", "ecc", "-u", public, "-r", private, *secret
    )
    tool("tpm2_encodeobject", "-C", f"{name}.ctx", "-u", public, "-r", private, *flag, "-o", pem)
    return pem
