"""The texts of the tour, step by step; ``steps`` and ``thefts`` hold the functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpmconsole.finding import Finding


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened in a step, as it was measured just now.

    Attributes:
        shown: the lines to show.
        diagram: a drawing in ASCII, at most 76 columns wide.
    """

    shown: tuple[Finding, ...]
    diagram: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the tour.

    Attributes:
        act: its function, as ``module.name`` in this package.
        title: a few words.
        text: what is about to happen, and why it matters.
        doing: what is happening, for the status line while it runs.
    """

    act: str
    title: str
    text: str
    doing: str

    def to_json(self, number: int, outcome: Outcome) -> dict[str, Any]:
        """The step and its outcome, as ``tour --json`` prints it, one step a line."""
        return {
            "step": number,
            "title": self.title,
            "text": self.text,
            "facts": [
                {"label": one.name, "state": one.state, "text": one.text} for one in outcome.shown
            ],
            "diagram": list(outcome.diagram),
        }


# Below the state directory of the console or command that runs the tour.
FOLDER = "tour"

TITLE = "The guided tour: a key that cannot be stolen"
WELCOME = (
    "Every device that talks to a server must prove who it is. It does so with a private key, and "
    "anyone who has that key can impersonate the device.",
    "Most devices keep the key in a file. A file can be copied by anyone who breaks in over the "
    "network, unsolders the memory or finds an old backup. An encrypted disk helps while the "
    "device is off; while it runs, the key is in its memory.",
    "A TPM changes that. In eleven steps you see a key made in a TPM, used, and then stolen. "
    "Nothing is staged: every step is done here and now, and you read its real results.",
)

STEPS = (
    Step(
        "steps.meet",
        "A chip that keeps secrets",
        "A Trusted Platform Module, TPM for short, is a small chip beside the processor. It makes "
        "keys, protects them and uses them. You give it something to sign and get a signature "
        "back, but never the key. The first step is a full self-test.",
        "the chip tests itself",
    ),
    Step(
        "steps.make_key",
        "The chip makes a key",
        "Usually a program makes a private key and writes it to a disk. Here the chip makes it, "
        "from its own random numbers. Only the public half comes out. Everyone may know that half: "
        "it can check signatures but cannot make them.",
        "the chip makes a key",
    ),
    Step(
        "steps.read_file",
        "What the file holds, and what it does not",
        "The chip has little memory, so it hands out the new key, but wrapped: encrypted with a "
        "secret that never leaves the chip. The board stores the wrapped key in an ordinary file. "
        "Let us read it as a thief would.",
        "reading the file",
    ),
    Step(
        "steps.ask",
        "The device asks for a certificate",
        "A public key does not name its owner. So the device writes a request: its name and public "
        "key, signed by the chip. The signature proves that it has the private half. The request "
        "holds no secret, so any channel will do.",
        "the chip signs the request",
    ),
    Step(
        "steps.certify",
        "An authority answers",
        "A certification authority (CA) checks the request and signs a certificate: this name "
        "belongs to this key. It has never seen the private half and does not need it. This CA "
        "was made for the tour a moment ago; no one else trusts it.",
        "the CA signs",
    ),
    Step(
        "steps.shake_hands",
        "Both sides prove who they are",
        "The device connects to a server with mutual TLS: each side shows its certificate and "
        "signs everything that both have sent so far.",
        "device and server shake hands",
    ),
    Step(
        "thefts.turn_away",
        "A stranger connects",
        "Now a stranger connects to the same server. The stranger speaks TLS as well as the device "
        "does, but has no certificate, and so cannot prove any identity.",
        "a stranger connects to the server",
    ),
    Step(
        "thefts.steal",
        "The theft",
        "A thief has copied the device's whole disk: the key file, byte for byte, and the "
        "certificate. The thief's board has its own TPM: a second, simulated one. It is asked to "
        "sign with the stolen key.",
        "the thief tries the key on a second TPM",
    ),
    Step(
        "thefts.steal_software",
        "The same with a key in a file",
        "A second device was built the usual way: its private key is in a file, without a chip. "
        "Its certificate is from the same CA. The thief copies both files, goes home and connects "
        "to the server.",
        "the thief connects to the server",
    ),
    Step(
        "lies.claim",
        "A key that only claims to be in a chip",
        "How does the CA know that a key is in a chip? The maker certifies each chip. The CA "
        "encrypts the certificate so that only this chip, and only for this key, can decrypt it. A "
        "liar, whose key is in a file, now tries the same.",
        "a liar asks the CA for a certificate",
    ),
    Step(
        "thefts.deliver",
        "How keys get onto a thousand devices",
        "There are three ways to give keys to devices. Each has just been used once with this "
        "chip. They differ in who could have kept a copy, and therefore in the people that the "
        "maker must trust.",
        "three ways into the chip",
    ),
)
