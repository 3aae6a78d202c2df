"""Describes the policies of a key file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tpmconsole.text import printable
from tpmconsole.tpm import tcg
from tpmconsole.tpm.keyfile.public_area import PublicAreaError, Reader

_POLICY_PCR = 0x17F
# TPM_CC (Part 2, section 6.5.2)
_COMMANDS = {
    0x149: "the value of an NV index",
    0x151: "the password of another object",
    0x160: "a signature",
    0x16A: "a policy that its author signed",
    0x16B: "the key's password",
    0x16C: "one kind of command only",
    0x16D: "the TPM's clock or counters",
    0x16E: "one command with fixed parameters only",
    0x16F: "a locality",
    0x170: "fixed objects only",
    0x171: "one of several policies",
    0x172: "a ticket",
    0x187: "physical presence",
    0x188: "a fixed new parent when copied",
    0x18C: "the key's password",
    0x18F: "an NV index written or not",
    0x190: "a fixed template",
    0x192: "a policy kept in an NV index",
}


@dataclass(frozen=True, slots=True)
class Step:
    """TPMPolicy: one policy command.

    Attributes:
        code: TPM_CC of the command.
        body: its parameters as they extend the policy's digest.
    """

    code: int
    body: bytes = b""

    @property
    def words(self) -> str:
        """Describes what must be given or true."""
        if self.code == _POLICY_PCR:
            return _pcr_words(self.body)
        return _COMMANDS.get(self.code, f"policy command 0x{self.code & 0xFFFFFFFF:x}")


@dataclass(frozen=True, slots=True)
class SignedPolicy:
    """TPMAuthPolicy: an alternative policy, signed by the key's author."""

    name: str | None
    steps: tuple[Step, ...]

    @property
    def words(self) -> str:
        title = f"'{printable(self.name, 60)}'" if self.name else "without a name"
        return f"signed policy {title}: " + (", ".join(s.words for s in self.steps) or "nothing")


def policy_words(steps: Iterable[Step], signed: Iterable[SignedPolicy]) -> tuple[str, ...]:
    """A key's policies, one line each."""
    return (*(one.words for one in steps), *(one.words for one in signed))


def _pcr_words(body: bytes) -> str:
    """Describe the TPML_PCR_SELECTION (Part 2, section 10.9.7) at the start of TPM2_PolicyPCR."""
    reader = Reader(body)
    banks = []
    try:
        for _ in range(min(reader.u32(), 16)):
            bank = tcg.algorithm(reader.u16())
            bits = int.from_bytes(reader.take(reader.take(1)[0]), "little")
            chosen = [str(pcr) for pcr in range(bits.bit_length()) if bits >> pcr & 1]
            banks.append(f"{bank} {','.join(chosen) or 'none'}")
    except PublicAreaError:
        return "PCR values"
    return f"PCR values: {'; '.join(banks)}"
