"""The environment of this program and those that it starts: built from a list, never inherited.

A user's PATH, LD_PRELOAD, PYTHONSTARTUP or TPM2OPENSSL_TCTI would change what our children do. The
worst is an OpenSSL configuration, the board's own or one named by OPENSSL_CONF, that activates the
tpm2 provider for every program: Python's hashlib, swtpm, tpm2-abrmd and the TSS's own OpenSSL would
each open the TPM again, and print messages about it on the screen. So none of our processes reads
one, except a session whose engine is the provider, which has a configuration of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# Not the user's: daemons are in the sbin folders, which an ordinary user's PATH leaves out.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# OpenSSL then reads no file; without the variable it would read the board's configuration.
NO_OPENSSL_CONF = {"OPENSSL_CONF": os.devnull}

# Enough to find libraries, and to use the user's language and time zone.
_KEPT = ("HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
# The message buses that a resource manager may be on.
BUSES = ("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS")

_given: dict[str, str] = {}


def shield() -> None:
    """Keep every OpenSSL configuration out of this process.

    Call it before anything loads libcrypto, which reads the configuration once: hashlib does, and
    with it half of the standard library.
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
        also: names of variables to keep besides the usual ones.
        inherited: our own environment, if not the real one.
        more: variables to add.
    """
    source = os.environ if inherited is None else inherited
    kept = {name: source[name] for name in (*_KEPT, *also) if name in source}
    return kept | NO_OPENSSL_CONF | {"PATH": SEARCH_PATH} | more
