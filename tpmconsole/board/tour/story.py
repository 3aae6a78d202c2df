"""What the tour tells, step by step, in plain words; ``acts`` and ``thefts`` do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpmconsole.finding import Finding


@dataclass(frozen=True, slots=True)
class Outcome:
    """What really happened in a step: all of it measured or answered just now.

    Attributes:
        shown: line by line.
        diagram: a drawing in ASCII, at most 76 columns wide.
    """

    shown: tuple[Finding, ...]
    diagram: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the tour.

    Attributes:
        act: the function that does it, as ``module.name`` in this package.
        title: a few words.
        text: what is about to happen, and why it matters.
        doing: the same while it happens, for a status line.
    """

    act: str
    title: str
    text: str
    doing: str

    def to_json(self, number: int, outcome: Outcome) -> dict[str, Any]:
        """The step and what happened, as ``tour --json`` prints it, one a line."""
        return {
            "step": number,
            "title": self.title,
            "text": self.text,
            "facts": [
                {"label": one.name, "state": one.state, "text": one.text} for one in outcome.shown
            ],
            "diagram": list(outcome.diagram),
        }


# Below the state directory of whoever gives the tour.
FOLDER = "tour"

TITLE = "The guided tour: a key that cannot be stolen"
WELCOME = (
    "Every device that talks to a server has to prove who it is. It does so with a private key, "
    "and whoever has that key is the device, as far as anybody can tell.",
    "Most devices keep the key in a file. A file can be copied: by somebody who breaks in over the "
    "network, who unsolders the memory, or who once had a backup in his hands. An encrypted disk "
    "helps while the device is off; while it runs, the key is in its memory.",
    "A TPM changes that. In ten steps you see a key made in one, used, and then stolen. Nothing is "
    "staged: every step is done here and now, and what you read is what came of it.",
)

STEPS = (
    Step(
        "steps.meet",
        "A chip that keeps secrets",
        "A Trusted Platform Module, TPM for short, is a small chip beside the processor. It makes "
        "keys, guards them and uses them. You give it something to sign and get a signature back, "
        "and never the key. First it is told to test itself, all of itself.",
        "the chip tests itself",
    ),
    Step(
        "steps.make_key",
        "A key is born inside",
        "Usually a program makes a private key and writes it to a disk. Here the chip does it, "
        "from its own source of chance. Only the public half comes out: everybody may know that "
        "one, it serves to check signatures and cannot make any.",
        "the chip makes a key",
    ),
    Step(
        "steps.read_file",
        "What the file holds, and what it does not",
        "The chip has little memory. So it hands the new key out, but wrapped: encrypted for "
        "itself, with a secret that never leaves it. The board keeps that as a file like any "
        "other. Let us read it as a thief would.",
        "reading the file",
    ),
    Step(
        "steps.ask",
        "The device asks for a certificate",
        "A public key does not say whose it is. So the device writes a request: its name and its "
        "public key, signed by the chip. The signature proves that it has the private half. "
        "Nothing secret is in it, so it may travel by any way.",
        "the chip signs the request",
    ),
    Step(
        "steps.certify",
        "An authority answers",
        "A certification authority (CA) looks at the request and signs a certificate: this name "
        "belongs to this key. It never saw the private half and did not need to. The CA of this "
        "tour was made for it a moment ago; nobody else trusts it.",
        "the CA signs",
    ),
    Step(
        "steps.shake_hands",
        "Both sides prove who they are",
        "The device calls a server, by mutual TLS: each side shows its certificate and signs what "
        "both have said so far.",
        "device and server shake hands",
    ),
    Step(
        "thefts.turn_away",
        "A stranger knocks",
        "Now somebody calls the same server who speaks TLS as well as the device does, but has no "
        "certificate. Without one there is nothing to sign with, and nobody to be.",
        "a stranger calls the server",
    ),
    Step(
        "thefts.steal",
        "The theft",
        "A thief has copied the device's whole disk: the key file, byte for byte, and the "
        "certificate. His own board has a TPM, too: a second one, simulated, with a life of its "
        "own. He tells it to sign with the stolen key.",
        "the thief tries the key on a second TPM",
    ),
    Step(
        "thefts.steal_software",
        "The same with a key in a file",
        "A second device was built the usual way: its private key lies in a file, and no chip is "
        "behind it. Its certificate is from the same CA. The thief copies both files, goes home, "
        "and calls the server.",
        "the thief calls the server",
    ),
    Step(
        "thefts.deliver",
        "How keys get onto a thousand devices",
        "Whoever makes devices can give them keys in three ways. Each of them has just been used "
        "once with this chip. They differ in who could have kept a copy, and so in whom the maker "
        "has to trust.",
        "three ways into the chip",
    ),
)
