"""The authorisations that an action may use, and checks made before they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tpmconsole.errors import usage_error
from tpmconsole.secret import Password, Secret
from tpmconsole.tpm.model import Lockout

PASSWORD_BYTES = 64  # TPM2B_AUTH (Part 2, 10.4.5): the largest digest of any TPM
# Names in ``ConsoleError.needs`` that differ from the field's name here.
_FIELDS = {"hierarchy": "owner"}


@dataclass(frozen=True, slots=True)
class Auth:
    """The authorisations that one action may use; None for each password that is not known.

    Passed as one value from the front end to the worker.

    Attributes:
        key: the key's password; for a new key, the one it will have. If it is None and the key
            says that it has a password, no attempt that counts is spent; if it is empty, an empty
            password is tried anyway.
        parent: the parent's, if the parent is a persistent key.
        owner: the owner hierarchy's; for a key file below another hierarchy, that hierarchy's.
        endorsement: the endorsement hierarchy's, which proves that a key is in this TPM.
        lockout: the lockout authorisation, which resets the lock-out and does nothing else.
        source: the passphrase of a file made elsewhere; the TPM never sees it.
        spend_last_attempt: send passwords even if a wrong one would lock the TPM.
        try_empty: if no password is known, try an empty one even if a wrong one counts. False
            when many keys are checked that the user did not select one by one. What a key file
            says about its password is only a hint (tpm2_encodeobject of tpm2-tools 5.4 and 5.7
            writes the opposite).
    """

    key: Password | None = field(default=None, repr=False)
    parent: Password | None = field(default=None, repr=False)
    owner: Password | None = field(default=None, repr=False)
    endorsement: Password | None = field(default=None, repr=False)
    lockout: Password | None = field(default=None, repr=False)
    source: Password | None = field(default=None, repr=False)
    spend_last_attempt: bool = True
    try_empty: bool = True

    def given(self, needs: str) -> Password | None:
        """The password given for an error's ``needs``."""
        password: Password | None = getattr(self, _FIELDS.get(needs, needs))
        return password

    def completed(self, needs: str, password: Password, *, spend_last_attempt: bool) -> Auth:
        """A copy with the password for an error's ``needs`` filled in."""
        changes: dict[str, Any] = {_FIELDS.get(needs, needs): password}
        return replace(self, **changes, spend_last_attempt=spend_last_attempt)

    def to_wire(self) -> dict[str, Any]:
        """The form in which it is sent to the worker."""
        return {
            "key": secret(self.key),
            "parent": secret(self.parent),
            "owner": secret(self.owner),
            "endorsement": secret(self.endorsement),
            "spend_last_attempt": self.spend_last_attempt,
            "try_empty": self.try_empty,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Auth:
        """Rebuild it, in the worker, from what ``to_wire`` returned.

        Raises:
            ConsoleError: a password is longer than any TPM accepts.
        """
        auth = cls(**data)
        auth.check()
        return auth

    def check(self) -> None:
        """Refuse passwords that no TPM accepts, before anything is loaded or sent.

        Raises:
            ConsoleError: a password is too long.
        """
        for one in (self.key, self.parent, self.owner, self.endorsement):
            check_password(one)


NO_AUTH = Auth()


@dataclass(frozen=True, slots=True)
class AttemptCost:
    """What a wrong password would cost, known before the user is asked for it.

    Attributes:
        needs: which password, as in ``ConsoleError``.
        counts: whether it uses up one of the TPM's attempts; None if unknown.
        lockout: the TPM's current state; None if the TPM does not report it.
    """

    needs: str
    counts: bool | None = None
    lockout: Lockout | None = None

    @property
    def last(self) -> bool:
        """Whether a wrong password would lock the TPM."""
        return self.counts is not False and self.lockout is not None and self.lockout.last_try

    @property
    def locked(self) -> bool:
        """Whether even the right password would be refused."""
        return self.counts is True and self.lockout is not None and self.lockout.locked


def secret(value: Password | None) -> Secret | None:
    """Wrap a password in a ``Secret``, which can be wiped; an existing ``Secret`` is returned."""
    return value if value is None or isinstance(value, Secret) else Secret(value)


def check_password(password: Password | None) -> None:
    """Refuse a password that no TPM accepts, before anything is loaded or sent.

    Raises:
        ConsoleError: it is too long.
    """
    if password is not None and len(password) > PASSWORD_BYTES:
        raise usage_error(
            "Password too long",
            f"it has {len(password)} bytes in UTF-8; a TPM accepts at most {PASSWORD_BYTES}",
            "use a shorter password",
        )
