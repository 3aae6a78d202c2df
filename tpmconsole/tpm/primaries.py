"""The keys that other tools put keys below, and how a key file of ours names them.

The TSS2 format names a parent by its handle. A hierarchy's handle stands for one primary key alone
(draft-bottomley-tpm2-keys, section 3.1: P-256, or RSA with ``rsaParent``), though tools make more:
tpm2_createprimary without noDA, go-tpm and Windows with a unique field of zeros, as the TCG's
Provisioning Guidance, section 7.5.1, has it. Each template gives another key.
"""

from __future__ import annotations

from dataclasses import dataclass

OWNER, ENDORSEMENT = 0x40000001, 0x4000000B  # Part 2, 7.4


@dataclass(frozen=True, slots=True)
class Parent:
    """A key that others are below: a primary key, or one at a persistent handle.

    Attributes:
        words: for people.
        handle: the persistent handle; or a hierarchy's, from whose seed the TPM makes the primary
            key again after the template that the others describe.
        rsa: RSA 2048; else EC P-256.
        zeros: its unique field has as many zeros as the public key has bytes; else it is empty.
        noda: it has the noDA attribute.
    """

    words: str
    handle: int = OWNER
    rsa: bool = False
    zeros: bool = False
    noda: bool = True

    @property
    def mark(self) -> str:
        """What names it in a key file of ours; empty where the format itself can."""
        if self.noda and not self.zeros:
            return ""
        return f"{'rsa' if self.rsa else 'ec'}-{'zeros' if self.zeros else 'counting'}"


# Those of elliptic curves first: a chip may take a minute to make an RSA key.
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
AS_SAID = Parent("what its file says")
MARKS = frozenset(one.mark for one in USUAL if one.mark)


def primary_of(hierarchy: int, *, rsa: bool, mark: str) -> Parent:
    """The primary key that a key file means.

    Args:
        hierarchy: the parent's handle in it.
        rsa: its field ``rsaParent``.
        mark: one of ``MARKS``; empty where it has none.
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
    """A key at a persistent handle that others are below."""
    return Parent(f"the key at 0x{handle:08x}", handle)
