"""The authorisations that an action may use, and what every TPM says of one before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tpmconsole.errors import usage_error
from tpmconsole.secret import Password, Secret
from tpmconsole.tpm.model import Lockout

PASSWORD_BYTES = 64  # TPM2B_AUTH (Part 2, 10.4.5): the largest digest a TPM has
# What ``ConsoleError.needs`` calls by another name than the field here.
_FIELDS = {"hierarchy": "owner"}


@dataclass(frozen=True, slots=True)
class Auth:
    """The authorisations that one action may use; None where no password is known.

    Passed whole, from the front end to the worker.

    Attributes:
        key: the key's; of a key to be made, what it will ask for. Where it is None, no attempt
            that counts is spent on a key that says it has one; empty to try all the same.
        parent: its parent's, where that is a persistent key.
        owner: the owner hierarchy's; of a key file below another hierarchy, that hierarchy's.
        lockout: the lockout authorisation, which resets the lock-out and does nothing else.
        source: what a file made elsewhere is encrypted with; the TPM never sees it.
        spend_last_attempt: send them also where a wrong one would lock the TPM.
        try_empty: where no password is known, try an empty one also where a wrong one counts; False
            for keys that nobody asked for one by one. What a key file says of its password is a
            hint (tpm2_encodeobject of tpm2-tools 5.4 and 5.7 writes the opposite).
    """

    key: Password | None = field(default=None, repr=False)
    parent: Password | None = field(default=None, repr=False)
    owner: Password | None = field(default=None, repr=False)
    lockout: Password | None = field(default=None, repr=False)
    source: Password | None = field(default=None, repr=False)
    spend_last_attempt: bool = True
    try_empty: bool = True

    def given(self, needs: str) -> Password | None:
        """The password that was given for what an error ``needs``."""
        password: Password | None = getattr(self, _FIELDS.get(needs, needs))
        return password

    def completed(self, needs: str, password: Password, *, spend_last_attempt: bool) -> Auth:
        """The same with the password that an error ``needs``."""
        changes: dict[str, Any] = {_FIELDS.get(needs, needs): password}
        return replace(self, **changes, spend_last_attempt=spend_last_attempt)

    def to_wire(self) -> dict[str, Any]:
        """What the worker is sent."""
        return {
            "key": secret(self.key),
            "parent": secret(self.parent),
            "owner": secret(self.owner),
            "spend_last_attempt": self.spend_last_attempt,
            "try_empty": self.try_empty,
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Auth:
        """What ``to_wire`` made, at the other end.

        Raises:
            ConsoleError: one is longer than any TPM takes.
        """
        auth = cls(**data)
        auth.check()
        return auth

    def check(self) -> None:
        """Refuse passwords that no TPM takes, before anything is loaded or sent.

        Raises:
            ConsoleError: one is too long.
        """
        for one in (self.key, self.parent, self.owner):
            check_password(one)


NO_AUTH = Auth()


@dataclass(frozen=True, slots=True)
class AttemptCost:
    """What a wrong password would cost, known before one is asked for.

    Attributes:
        needs: whose password, as in ``ConsoleError``.
        counts: whether it spends one of the TPM's tries; None where that is not known.
        lockout: the TPM's state now; None where it does not tell.
    """

    needs: str
    counts: bool | None = None
    lockout: Lockout | None = None

    @property
    def last(self) -> bool:
        """Whether a wrong one would lock the TPM."""
        return self.counts is not False and self.lockout is not None and self.lockout.last_try

    @property
    def locked(self) -> bool:
        """Whether the right one would be refused, too."""
        return self.counts is True and self.lockout is not None and self.lockout.locked


def secret(value: Password | None) -> Secret | None:
    """As one that may be wiped, and travels as one; what is one already is the same one."""
    return value if value is None or isinstance(value, Secret) else Secret(value)


def check_password(password: Password | None) -> None:
    """Refuse a password that no TPM takes, before anything is loaded or sent.

    Raises:
        ConsoleError: it is too long.
    """
    if password is not None and len(password) > PASSWORD_BYTES:
        raise usage_error(
            "Password too long",
            f"it has {len(password)} bytes in UTF-8, a TPM takes at most {PASSWORD_BYTES}",
            "use a shorter password",
        )
