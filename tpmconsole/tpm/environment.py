"""What a program that we start gets to see: built from a list, never inherited.

A user's PATH, LD_PRELOAD, PYTHONSTARTUP, OPENSSL_CONF or TPM2OPENSSL_TCTI would change what our
children do: the last two make the TSS's own OpenSSL, and tpm2-abrmd's, open the TPM once more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# Not the user's: daemons live in the sbin folders, which a plain user's PATH leaves out.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Enough to find libraries, and to speak the user's language and time.
_KEPT = ("HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
# Where the message buses are that a resource manager is on.
BUSES = ("DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS")


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
    return kept | {"PATH": SEARCH_PATH} | more
