"""tpm2-tools, tpm2-openssl and tpm2-pytss, as people run them beside the console."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.shell import QuickShell
from support.swtpm import SwtpmAlone
from tpmconsole.tpm.model import Connection

PROVIDERS = ("-provider", "tpm2", "-provider", "default")
SIGNING = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
STORAGE = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
PARENT = "0x81000002"
needs_tools = pytest.mark.skipif(
    shutil.which("tpm2_encodeobject") is None, reason="tpm2-tools is not installed"
)


class Tools:
    """Runs other people's tools in a folder, with one TPM."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self.folder = folder
        self.tcti = connection.tcti
        self.environment = {
            "PATH": os.environ["PATH"],
            "TPM2OPENSSL_TCTI": connection.tcti,
            "TPM2TOOLS_TCTI": connection.tcti,
            **connection.environment,
        }

    def run(self, *command: str) -> bytes:
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # OpenSSL would ask for a password on the terminal
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def genpkey(self, *options: str) -> Path:
        """A key made by tpm2-openssl."""
        file = self.folder / "made.pem"
        self.run("openssl", "genpkey", *PROVIDERS, "-out", file.name, *options)
        return file

    def public(self, file: Path) -> bytes:
        """The public key as tpm2-openssl sees it, which loads the key."""
        options = ("-in", file.name, "-pubout", "-passin", "pass:")
        return self.run("openssl", "pkey", *PROVIDERS, *options)

    def python(self, script: str, *arguments: str) -> bytes:
        """A script for tpm2-pytss, with an ESAPI context as ``esapi``."""
        head = (
            "import sys; from tpm2_pytss import ESAPI; from tpm2_pytss.tsskey import TSSPrivKey\n"
            f"with ESAPI({self.tcti!r}) as esapi:\n"
        )
        return self.run(sys.executable, "-c", f"{head}    {script}", *arguments)


class KeyMaker(Tools):
    """Makes keys with tpm2-tools in a TPM that no resource manager looks after."""

    def flush(self) -> None:
        """Take out the objects and sessions that the tools leave there."""
        self.run("tpm2_flushcontext", "-t")
        self.run("tpm2_flushcontext", "-l")

    def persist_primary(self, handle: str, *options: str, hierarchy: str = "o") -> None:
        """Keep a primary key at a handle; without options a storage key."""
        self.run("tpm2_createprimary", "-Q", "-C", hierarchy, "-c", "primary.ctx", *options)
        self.run("tpm2_evictcontrol", "-Q", "-C", hierarchy, "-c", "primary.ctx", handle)
        self.flush()

    def key(self, name: str, *options: str, attributes: str = SIGNING, encode: str = "") -> Path:
        """A key below ``PARENT``, written by tpm2_encodeobject.

        Args:
            options: for tpm2_create; it is an EC key where they name no other kind.
            encode: a further option for tpm2_encodeobject.
        """
        parts = ("-u", "key.pub", "-r", "key.priv")
        kind = () if "-G" in options or "-i" in options else ("-G", "ecc")
        self.run("tpm2_create", "-Q", "-C", PARENT, *kind, *options, "-a", attributes, *parts)
        self.flush()
        more = (encode,) if encode else ()
        self.run("tpm2_encodeobject", "-C", PARENT, *parts, "-o", name, *more)
        self.flush()
        return self.folder / name

    def four_inverted(self) -> Path:
        """A folder with four keys with a password, whose files say that they have none."""
        self.persist_primary(PARENT, "-a", f"{STORAGE}|noda")
        for name in "abcd":
            self.key(f"{name}.pem", "-p", "abc", encode="-p")
        return self.folder


class Bench:
    """A command line and other people's tools on one TPM."""

    def __init__(self, swtpm: SwtpmAlone, state: Path, folder: Path) -> None:
        self.shell = QuickShell(state)
        self.tools = KeyMaker(swtpm.connection, folder)
        self._tpm = ("--tcti", swtpm.connection.tcti)

    def __call__(self, *arguments: str) -> tuple[int, Any]:
        """Run a command; its exit code and its JSON."""
        done = self.shell(*self._tpm, *arguments, "--json")
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)

    def text(self, *arguments: str) -> str:
        """What a command prints for people."""
        return self.shell(*self._tpm, *arguments).stdout

    @property
    def used(self) -> int:
        """The lock-out counter."""
        return int(self("status")[1]["lockout"]["failed_tries"])
