"""What we and the programs that we start get to see: built from a list, never inherited.

A user's PATH, LD_PRELOAD, PYTHONSTARTUP or TPM2OPENSSL_TCTI would change what our children do. The
worst is a configuration of OpenSSL, named by OPENSSL_CONF or the board's own, that switches the
tpm2 provider on for everybody: Python's hashlib, swtpm, tpm2-abrmd and the TSS's own OpenSSL would
each open the TPM once more, and write about it on the screen. So none of ours reads one, but a
session whose engine is the provider, which gets one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# Not the user's: daemons live in the sbin folders, which a plain user's PATH leaves out.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# An OpenSSL that reads nothing; without the variable it would read the board's own configuration.
NO_OPENSSL_CONF = {"OPENSSL_CONF": os.devnull}

# Enough to find libraries, and to speak the user's language and time.
_KEPT = ("HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
# Where the message buses are that a resource manager is on.
BUSES = ("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS")

_given: dict[str, str] = {}


def shield() -> None:
    """Keep every configuration of OpenSSL out of this process.

    To be called before anything loads libcrypto, which reads it once: hashlib does, and with it
    half of the standard library.
    """
    _given.update(os.environ)
    os.environ.update(NO_OPENSSL_CONF)


def given_environment() -> dict[str, str]:
    """The environment as the user gave it to us."""
    return dict(_given or os.environ)


def plain_environment(
    *also: str, inherited: Mapping[str, str] | None = None, **more: str
) -> dict[str, str]:
    """A child's environment.

    Args:
        also: names of variables that it takes over besides the usual ones.
        inherited: our own environment, where not the real one.
        more: what it gets in addition.
    """
    source = os.environ if inherited is None else inherited
    kept = {name: source[name] for name in (*_KEPT, *also) if name in source}
    return kept | NO_OPENSSL_CONF | {"PATH": SEARCH_PATH} | more
