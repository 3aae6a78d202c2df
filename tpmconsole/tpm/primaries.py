"""The parent keys that other tools use, and how our key files name them.

The TSS2 format names a parent by its handle. A hierarchy's handle stands for a single primary key
(draft-bottomley-tpm2-keys, section 3.1: P-256, or RSA with ``rsaParent``), but tools make others:
tpm2_createprimary without noDA; go-tpm and Windows with a unique field of zeros, as the TCG's
Provisioning Guidance, section 7.5.1, prescribes. Each template gives a different key.
"""

from __future__ import annotations

from dataclasses import dataclass

OWNER, ENDORSEMENT = 0x40000001, 0x4000000B  # Part 2, 7.4


@dataclass(frozen=True, slots=True)
class Parent:
    """A parent of other keys: a primary key, or a key at a persistent handle.

    Attributes:
        words: its name for people.
        handle: the persistent handle; or a hierarchy's, from whose seed the TPM recreates the
            primary key with the template that the other attributes describe.
        rsa: True for RSA 2048, False for EC P-256.
        zeros: whether its unique field holds as many zeros as the public key has bytes; otherwise
            the field is empty.
        noda: whether it has the noDA attribute.
    """

    words: str
    handle: int = OWNER
    rsa: bool = False
    zeros: bool = False
    noda: bool = True

    @property
    def mark(self) -> str:
        """What names it in our key files; empty if the format itself has a name for it."""
        if self.noda and not self.zeros:
            return ""
        return f"{'rsa' if self.rsa else 'ec'}-{'zeros' if self.zeros else 'counting'}"


# EC keys first: a chip may need a minute to make an RSA key.
USUAL = (
    Parent("the EC storage root key"),
    Parent("the EC storage root key with a unique field of zeros (go-tpm)", zeros=True),
    Parent("the EC primary key of tpm2_createprimary", noda=False),
    Parent("the endorsement hierarchy's EC storage key", ENDORSEMENT),
    Parent(
        "the EC primary key of tpm2_createprimary in the endorsement hierarchy",
        ENDORSEMENT,
        noda=False,
    ),
    Parent("the RSA storage root key", rsa=True),
    Parent(
        "the RSA storage root key with a unique field of zeros (Windows, go-tpm)",
        rsa=True,
        zeros=True,
    ),
    Parent("the RSA primary key of tpm2_createprimary", rsa=True, noda=False),
    Parent("the endorsement hierarchy's RSA storage key", ENDORSEMENT, rsa=True),
    Parent(
        "the RSA primary key of tpm2_createprimary in the endorsement hierarchy",
        ENDORSEMENT,
        rsa=True,
        noda=False,
    ),
)
AS_SAID = Parent("the parent that its file names")
MARKS = frozenset(one.mark for one in USUAL if one.mark)


def primary_of(hierarchy: int, *, rsa: bool, mark: str) -> Parent:
    """The primary key that a key file refers to.

    Args:
        hierarchy: the parent's handle in the file.
        rsa: the file's ``rsaParent`` field.
        mark: one of ``MARKS``; empty if the file does not have one.
    """
    kind, _, variant = mark.partition("-")
    return Parent(
        "",
        hierarchy,
        rsa=rsa or kind == "rsa",
        zeros=variant == "zeros",
        noda=variant != "counting",
    )


def at_handle(handle: int) -> Parent:
    """The parent at a persistent handle."""
    return Parent(f"the key at 0x{handle:08x}", handle)
