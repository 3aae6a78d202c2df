"""How an identity's key has proved to a CA that it is in a TPM."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attestation:
    """A proof that was given: this TPM opened what a CA had sealed for the key.

    Attributes:
        when: ISO 8601 UTC.
        chip: the maker, model and firmware that its endorsement certificate tells.
        endorsement: SHA-256 of the endorsement key, 64 hexadecimal digits.
    """

    when: str
    chip: str
    endorsement: str

    @property
    def words(self) -> str:
        """On one line, without the time of day."""
        return f"{self.when[:10]}, {self.chip}, EK {self.endorsement[:16]}"
