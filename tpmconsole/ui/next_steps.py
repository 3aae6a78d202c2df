"""Describe the next step on the screen: a key and its page."""

from __future__ import annotations

from tpmconsole.errors import Action, NextStep, Remedy

# The text in brackets is used if no subject is known.
_KEYS = {
    Action.ADD_TRUST: "t on page 3",
    Action.ADOPT: "d on page 2",
    Action.ALLOW_TLS: "the session's oldest TLS [1.2]",
    Action.ATTEST: "h on page 3, then a",
    Action.ASK_FOR_NAMES: "dns:NAME or ip:ADDRESS among its names",
    Action.CHECK_CERTIFICATE: "i on page 3",
    Action.CHECK_KEY: "u on page 2",
    Action.CREATE: "n on page 3",
    Action.DRY_RUN: "the command line's --dry-run",
    Action.EVICT: "e on page 2",
    Action.FORGET: "x on page 3",
    Action.GIVE_KEY_PASSWORD: "key p",
    Action.GIVE_LAST_ATTEMPT: "y",
    Action.GIVE_NO_PASSWORD: "press Enter twice",
    Action.GIVE_SERVER: "the doctor of the command line, with its server",
    Action.GIVE_STATE: "start the console with --state [DIR]",
    Action.GIVE_TCTI: "start the console with --tcti TCTI",
    Action.GIVE_TRUST: "key t",
    Action.HAND_OVER: "h on page 3",
    Action.IMPORT: "i on page 3",
    Action.IMPORT_KEY: "i on page 2",
    Action.INSTALL_SERVICE: "the command line's session install [ID]",
    Action.LIST_ALGORITHMS: "page 1",
    Action.LIST_KEYS: "page 2",
    Action.LIST_TRUST: "t on page 3",
    Action.RELOAD: "l on page 4",
    Action.REMOVE_TRUST: "t on page 3, then x",
    Action.RENEW: "w on page 3",
    Action.REPAIR_MODES: "m on page 5",
    Action.REQUEST: "r on page 3",
    Action.RESET_LOCKOUT: "l on page 1",
    Action.RESTART: "r on page 4",
    Action.SELF_TEST: "t on page 1",
    Action.SHOW_SESSION: "Enter on page 4",
    Action.SHOW_STATUS: "page 1",
    Action.START: "s or c on page 4",
    Action.STOP: "x on page 4",
    Action.USE_ENGINE: "engine [auto]",
    Action.USE_PROTOCOL: "protocol [https]",
    Action.USE_ROLE: "with key o",
    Action.USE_SIMULATOR: "s on page 1: use the simulated TPM",
    Action.WRITE_OUT: "choose another place",
}


def keys(step: NextStep) -> str:
    """The key for a step, and its page."""
    if step.action is Action.USE_ROLE and step.subject:
        return f"for the role {step.subject}"
    return step.fill(_KEYS[step.action])


def say(remedy: Remedy) -> str:
    """A remedy for a user of the screen."""
    return remedy if isinstance(remedy, str) else remedy.worded(keys(remedy))
