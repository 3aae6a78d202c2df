"""Response codes of the TPM and the TSS: the numbers we act on, and texts for all we know.

The codes are those of the TPM 2.0 Library, Part 2, section 6.6 (TPM_RC).
"""

from __future__ import annotations

from enum import IntEnum

from tpmconsole.errors import Action, NextStep, Remedy


class Code(IntEnum):
    """Response codes that we act on; the others only have texts."""

    INITIALIZE = 0x100
    FAILURE = 0x101
    DISABLED = 0x120
    AUTH_UNAVAILABLE = 0x12F
    COMMAND_CODE = 0x143
    NV_SPACE = 0x14B
    NV_DEFINED = 0x14C
    NEEDS_TEST = 0x153
    SENSITIVE = 0x155
    AUTH_TYPE = 0x124
    ASYMMETRIC = 0x81
    ATTRIBUTES = 0x82
    HASH = 0x83
    VALUE = 0x84
    HIERARCHY = 0x85
    KEY_SIZE = 0x87
    TYPE = 0x8A
    HANDLE = 0x8B
    AUTH_FAIL = 0x8E
    SCHEME = 0x92
    SIZE = 0x95
    SYMMETRIC = 0x96
    KEY = 0x9C
    POLICY_FAIL = 0x9D
    INSUFFICIENT = 0x9A
    INTEGRITY = 0x9F
    TICKET = 0xA0
    BAD_AUTH = 0xA2
    BINDING = 0xA5
    CURVE = 0xA6
    CONTEXT_GAP = 0x901
    OBJECT_MEMORY = 0x902
    SESSION_MEMORY = 0x903
    MEMORY = 0x904
    SESSION_HANDLES = 0x905
    OBJECT_HANDLES = 0x906
    YIELDED = 0x908
    TESTING = 0x90A
    REFERENCE_H0 = 0x910
    REFERENCE_S0 = 0x918
    NV_RATE = 0x920
    LOCKOUT = 0x921
    RETRY = 0x922
    NV_UNAVAILABLE = 0x923


BUSY = frozenset({Code.YIELDED, Code.TESTING, Code.NV_RATE, Code.RETRY, Code.NV_UNAVAILABLE})
NO_ROOM = frozenset(
    {
        Code.OBJECT_MEMORY,
        Code.SESSION_MEMORY,
        Code.MEMORY,
        Code.SESSION_HANDLES,
        Code.OBJECT_HANDLES,
    }
)
UNSUPPORTED = frozenset(
    {
        Code.ASYMMETRIC,
        Code.HASH,
        Code.KEY_SIZE,
        Code.TYPE,
        Code.SCHEME,
        Code.SYMMETRIC,
        Code.CURVE,
        Code.COMMAND_CODE,
    }
)

_NO_ROOM_REMEDY = (
    "end the programs that use the TPM, or, if tpm2-abrmd serves it: "
    "sudo systemctl restart tpm2-abrmd; /dev/tpmrm0 has room for many programs"
)


def _no_room(what: str, who: str) -> tuple[str, str, Remedy]:
    cause = f"{what} are taken: other programs have {who}"
    return "No room in the TPM", cause, _NO_ROOM_REMEDY


_BUSY_WORDS = (
    "TPM busy",
    "it asked us again and again to retry later",
    "try again in a minute",
)
_UNSUPPORTED_REMEDY = NextStep(
    Action.LIST_ALGORITHMS, text="choose another algorithm: {} lists what this TPM can do"
)
_OTHER_TPM_REMEDY = "use it on the TPM that made it, or create a new key here"

# code: title, cause, remedy
TPM_WORDS: dict[int, tuple[str, str, Remedy]] = {
    Code.INITIALIZE: (
        "TPM not started",
        "it received no TPM2_Startup since power-on",
        "check the firmware's TPM settings; tpm2_startup -c starts it by hand",
    ),
    Code.FAILURE: (
        "TPM in failure mode",
        "its self-test failed and it refuses all work",
        "power the board off and on; if it comes back failed, the chip must be replaced",
    ),
    Code.DISABLED: (
        "TPM command disabled",
        "the firmware has switched this hierarchy or command off",
        "check the firmware's TPM settings",
    ),
    0x121: (
        "TPM busy",
        "another program uses it in an exclusive audit session",
        "end that program and try again",
    ),
    Code.AUTH_TYPE: (
        "Key needs its policy",
        "this key accepts no password, only its policy",
        "use the program that knows the policy, or create a key with a password",
    ),
    0x125: (
        "Password needed",
        "the TPM needs an authorisation that was not given",
        "give the password",
    ),
    0x12D: (
        "TPM being upgraded",
        "a firmware upgrade of the TPM is under way",
        "finish the upgrade with the vendor's tool",
    ),
    Code.AUTH_UNAVAILABLE: (
        "Key needs its policy",
        "this key accepts no password for this use, only its policy",
        "use the program that knows the policy, or create a key with a password",
    ),
    0x130: (
        "TPM needs a restart",
        "it must be reset before it can continue",
        "restart the board",
    ),
    Code.COMMAND_CODE: (
        "Not supported",
        "this TPM does not have the command",
        _UNSUPPORTED_REMEDY,
    ),
    0x144: (
        "TPM refused",
        "the authorisation has a wrong size",
        "report this with the log",
    ),
    0x148: (
        "NV index locked",
        "the TPM's memory for this is locked until the next restart",
        "restart the board",
    ),
    0x149: (
        "NV index refused",
        "the authorisation does not allow this use of the TPM's memory",
        "give the owner password",
    ),
    Code.NV_SPACE: (
        "No room in the TPM",
        "its memory for persistent keys is full",
        NextStep(Action.EVICT, text="evict a persistent key that is no longer needed ({})"),
    ),
    Code.NV_DEFINED: (
        "Handle in use",
        "there is another key at this handle",
        NextStep(Action.LIST_KEYS, text="choose a free handle; those in use: {}"),
    ),
    Code.NEEDS_TEST: (
        "Self-test not run",
        "the TPM has not tested what is needed for this",
        "run the self-test",
    ),
    Code.BINDING: (
        "Key refused",
        "its public and private parts do not belong together: the key file is damaged",
        _OTHER_TPM_REMEDY,
    ),
    Code.SENSITIVE: (
        "Key refused",
        "its private part cannot be decoded: the key file is damaged",
        _OTHER_TPM_REMEDY,
    ),
    Code.ASYMMETRIC: (
        "Not supported",
        "this TPM does not have this kind of key",
        _UNSUPPORTED_REMEDY,
    ),
    Code.ATTRIBUTES: (
        "Key refused",
        "its attributes do not allow this use, or contradict each other",
        "use a key made for signing",
    ),
    Code.HASH: ("Not supported", "this TPM does not have this hash", _UNSUPPORTED_REMEDY),
    Code.VALUE: (
        "TPM refused",
        "a value is out of its range, or not supported by this TPM",
        "check the handle and the algorithm",
    ),
    Code.HIERARCHY: (
        "Hierarchy refused",
        "the hierarchy is switched off, or the key does not belong to it",
        "check the firmware's TPM settings and the key's parent",
    ),
    Code.KEY_SIZE: ("Not supported", "this TPM does not have this key size", _UNSUPPORTED_REMEDY),
    Code.TYPE: ("Key refused", "a key of this kind cannot be used here", _UNSUPPORTED_REMEDY),
    Code.HANDLE: (
        "No such key",
        "there is nothing at this handle",
        NextStep(Action.LIST_KEYS, text="look at the handles in use: {}"),
    ),
    Code.AUTH_FAIL: (
        "Wrong password",
        "the TPM refused the password, and counted this towards the lock-out",
        "check the password before you try again; status shows the attempts left",
    ),
    Code.SCHEME: (
        "Not supported",
        "this key or this TPM cannot sign in the requested way",
        _UNSUPPORTED_REMEDY,
    ),
    Code.SIZE: ("TPM refused", "a value has a wrong size", "check the key file and the password"),
    Code.SYMMETRIC: ("Not supported", "this TPM does not have this cipher", _UNSUPPORTED_REMEDY),
    Code.KEY: ("Key refused", "it is not a key that can do this", "use a key made for signing"),
    Code.POLICY_FAIL: (
        "Policy not met",
        "the key's policy was not satisfied",
        "use the program that knows the policy",
    ),
    Code.INTEGRITY: (
        "Key refused",
        "another TPM made it, or this one below a different primary key, or its file is "
        "damaged: the TPM cannot tell these apart",
        # tpm2_createprimary has many templates, and a file names only the hierarchy.
        f"{_OTHER_TPM_REMEDY}; if tpm2-tools made it here, put its primary key at a handle "
        "(tpm2_evictcontrol) and write its file again with that as the parent (tpm2_encodeobject)",
    ),
    Code.TICKET: (
        "Key refused",
        "it signs only what the TPM itself made (an attestation key)",
        "use a key made for signing",
    ),
    Code.BAD_AUTH: (
        "Wrong password",
        "the TPM refused the password; this does not count towards the lock-out",
        "check the password and try again",
    ),
    Code.CURVE: ("Not supported", "this TPM does not have this curve", _UNSUPPORTED_REMEDY),
    Code.MEMORY: _no_room("all places in its working memory", "keys or sessions loaded"),
    Code.OBJECT_MEMORY: _no_room(
        # tpm2-abrmd 3.0 still counts the objects that the TPM lost in a reset.
        "all its places for loaded keys",
        "keys loaded, or the TPM was reset behind tpm2-abrmd",
    ),
    Code.OBJECT_HANDLES: _no_room("all its handles for loaded keys", "keys loaded"),
    Code.SESSION_MEMORY: _no_room("all its places for sessions", "authorisation sessions open"),
    Code.SESSION_HANDLES: _no_room("all its handles for sessions", "authorisation sessions open"),
    Code.CONTEXT_GAP: (
        "No room in the TPM",
        "a program has kept an authorisation session open for too long",
        _NO_ROOM_REMEDY,
    ),
    0x907: (
        "TPM refused",
        "this interface (locality) must not do that",
        "use /dev/tpmrm0",
    ),
    Code.REFERENCE_H0: (
        "No such key",
        "the key at this handle is no longer loaded",
        "try again",
    ),
    **dict.fromkeys(BUSY, _BUSY_WORDS),
    Code.TESTING: (
        "TPM busy",
        "it is still testing itself",
        "try again in a minute",
    ),
    Code.LOCKOUT: (
        "TPM locked out",
        "too many wrong passwords, or the power was lost while a key that counts was in use: it "
        "refuses protected keys, with the right password too",
        "wait until attempts are forgiven (status shows when), or reset the lock-out",
    ),
}

# An answer that the TSS cannot decode.
NONSENSE_WORDS = (
    "its answer cannot be decoded: bytes are lost or changed on the way",
    "try again; if it fails again, check its wiring and resource manager, or replace the chip",
)

RSP_AUTH_FAILED = 0x7001B  # TSS2_ESYS_RC_RSP_AUTH_FAILED: an answer's HMAC is wrong

# Failures of the layers above the TPM, keyed by the whole code.
TSS_WORDS: dict[int, tuple[str, str]] = {
    0xA0006: NONSENSE_WORDS,  # more bytes than requested
    0xA0007: (
        "the resource manager or driver has lost its TPM",
        "check that the chip's driver is there, then: sudo systemctl restart tpm2-abrmd",
    ),
    0xA000A: (
        "its device or socket cannot be opened, or the connection broke",
        "check that the TPM is there and that you may open it; doctor shows why",
    ),
    0xA0008: (
        "tpm2-abrmd or its D-Bus is not there, or has too many connections",
        "start tpm2-abrmd, or end programs that use it",
    ),
    0xA0009: ("it did not answer in time", "try again; if it fails again, restart the board"),
    0xA000B: (
        "the TCTI's configuration is not valid",
        "write it as device:/dev/tpmrm0 or swtpm:host=127.0.0.1,port=2321",
    ),
    0xA0015: (
        "there is no such TCTI, or its library is not installed",
        "use device, tabrmd or swtpm, and install its libtss2-tcti package",
    ),
    0x80012: (
        "what answered does not speak TPM 2.0",
        "check that the TCTI names a TPM's device or socket",
    ),
    0x80013: (
        "what answered does not speak TPM 2.0",
        "check that the TCTI names a TPM's device or socket",
    ),
    RSP_AUTH_FAILED: (
        "the answer was changed on the way, or something else answered for the TPM",
        "try again; if it happens again, check what is between the board and its TPM",
    ),
    0x70007: ("the connection broke earlier", "try again to open a new one"),
}
