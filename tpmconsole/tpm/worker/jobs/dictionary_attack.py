"""Not spending password tries: each wrong one brings the whole TPM nearer to its lock-out.

Loading a key authorises its parent. A parent without the noDA attribute that has a password costs
a try each time (response code 0x98e), and after the last one all protected keys are refused. So an
empty password is tried once for such a parent, and never as the last try that is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tpm2_pytss import ESAPI, ESYS_TR, TPM2_PT, TSS2_Exception

from tpmconsole.errors import ConsoleError, ExitCode
from tpmconsole.tpm.errors import KeyUnusableError
from tpmconsole.tpm.keyfile import public_area
from tpmconsole.tpm.responses import Code, base, is_from_tpm
from tpmconsole.tpm.worker.jobs import capability

# Names of parents that refused the empty password, for the life of this process.
_REFUSED: set[bytes] = set()
# Names of those that took it: they cost nothing.
_PROVEN: set[bytes] = set()


def area_of(esapi: ESAPI, handle: ESYS_TR) -> public_area.PublicArea:
    """The public area of an object in the TPM.

    Raises:
        ConsoleError: its kind is not known here.
    """
    public, _, _ = esapi.read_public(handle)
    try:
        return public_area.decode(public.publicArea.marshal())
    except public_area.PublicAreaError as error:
        raise ConsoleError(
            "Key not understood", str(error), "use another key", ExitCode.REFUSED
        ) from error


def left(esapi: ESAPI) -> int:
    """How many wrong passwords the TPM takes before it locks."""
    state = capability.properties(esapi, TPM2_PT.VAR)
    return state.get(TPM2_PT.MAX_AUTH_FAIL, 0) - state.get(TPM2_PT.LOCKOUT_COUNTER, 0)


def check_guess(
    esapi: ESAPI, area: public_area.PublicArea, what: str, *, needs: str = "key"
) -> None:
    """Refuse to try an empty password where it would be the last try.

    Args:
        what: the key in words.
        needs: whose password would help, as in ``ConsoleError``.

    Raises:
        KeyUnusableError: it might lock the TPM.
    """
    if not area.has_noda and left(esapi) == 1:
        raise KeyUnusableError(
            "needs-password",
            f"{what} may have a password, and only one try is left before the TPM locks",
            "give the password, or wait until tries are forgiven (status shows how long)",
            needs=needs,
        )


def check_last(esapi: ESAPI, area: public_area.PublicArea, what: str) -> None:
    """Refuse to send a password where a wrong one would lock the TPM.

    Args:
        what: the key in words.

    Raises:
        KeyUnusableError: this is the last try.
    """
    if not area.has_noda and left(esapi) == 1:
        raise KeyUnusableError(
            "last-try",
            f"a wrong password for {what} would now lock out every protected key",
            "make sure of the password, or wait until tries are forgiven (status shows how long)",
            needs="consent",
        )


@contextmanager
def sparing(esapi: ESAPI, parent: ESYS_TR, handle: int) -> Iterator[None]:
    """Use a persistent parent without its password, at most once in vain.

    Raises:
        KeyUnusableError: the parent has a password, or might have and only one try is left.
    """
    area = area_of(esapi, parent)
    name, what = area.name, f"the key's parent 0x{handle:08x}"
    if name in _REFUSED:
        raise _protected(what)
    if name not in _PROVEN:
        check_guess(esapi, area, what, needs="parent")
    try:
        yield
    except TSS2_Exception as error:
        rc = int(error.rc)
        if is_from_tpm(rc) and base(rc) in (Code.AUTH_FAIL, Code.BAD_AUTH):
            _REFUSED.add(name)
            raise _protected(what, rc) from error
        raise
    _PROVEN.add(name)


def _protected(what: str, rc: int | None = None) -> KeyUnusableError:
    return KeyUnusableError(
        "needs-password",
        f"{what} has a password",
        "give the parent's password",
        response_code=rc,
        needs="parent",
    )
