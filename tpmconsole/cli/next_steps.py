"""Describe the next step as a command or an option."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tpmconsole.errors import Action, NextStep, Remedy, remedy_from_json

# A command or an option for each action; the text in brackets is used if no subject is known.
_COMMANDS = {
    Action.ADD_TRUST: "tpmconsole trust [NAME] --add FILE",
    Action.ADOPT: "tpmconsole create [NAME] --from-file FILE",
    Action.ALLOW_TLS: "--min-tls [1.2]",
    Action.ATTEST: "tpmconsole request [NAME] --attest",
    Action.ASK_FOR_NAMES: "--san dns:NAME or --san ip:ADDRESS",
    Action.CHECK_CERTIFICATE: "tpmconsole import --check",
    Action.CHECK_KEY: "tpmconsole keys [PATH] --prove",
    Action.CREATE: "tpmconsole create [NAME]",
    Action.DRY_RUN: "--dry-run",
    Action.EVICT: "tpmconsole evict [HANDLE]",
    Action.FORGET: "tpmconsole forget [NAME]",
    Action.GIVE_KEY_PASSWORD: "--password-file FILE",
    Action.GIVE_LAST_ATTEMPT: "--last-try",
    Action.GIVE_NO_PASSWORD: "--no-password",
    Action.GIVE_SERVER: "tpmconsole doctor --server HOST:PORT",
    Action.GIVE_STATE: "--state [DIR]",
    Action.GIVE_TCTI: "--tcti TCTI",
    Action.GIVE_TRUST: "--trust FILE",
    Action.HAND_OVER: "tpmconsole request [NAME] --out FILE",
    Action.IMPORT: "tpmconsole import [NAME] FILE --trust FILE",
    Action.IMPORT_KEY: "tpmconsole create [NAME] --from FILE",
    Action.INSTALL_SERVICE: "tpmconsole session install [ID]",
    Action.LIST_ALGORITHMS: "tpmconsole status --json",
    Action.LIST_KEYS: "tpmconsole keys",
    Action.LIST_TRUST: "tpmconsole trust [NAME]",
    Action.RELOAD: "tpmconsole session reload [ID]",
    Action.REMOVE_TRUST: "tpmconsole trust [NAME] --remove SHA-256",
    Action.RENEW: "tpmconsole renew [NAME]",
    Action.REPAIR_MODES: "tpmconsole doctor --repair",
    Action.REQUEST: "tpmconsole request [NAME]",
    Action.RESET_LOCKOUT: "tpmconsole lockout reset",
    Action.RESTART: "tpmconsole session restart [ID]",
    Action.SELF_TEST: "tpmconsole selftest",
    Action.SHOW_SESSION: "tpmconsole session show [ID]",
    Action.SHOW_STATUS: "tpmconsole status",
    Action.START: "tpmconsole session start server NAME --listen HOST:PORT",
    Action.STOP: "tpmconsole session stop [ID]",
    Action.USE_ENGINE: "--engine [ENGINE]",
    Action.USE_PROTOCOL: "--protocol [PROTOCOL]",
    Action.USE_ROLE: "with --role [ROLE]",
    Action.USE_SIMULATOR: "use --simulate for a simulated TPM",
    Action.WRITE_OUT: "with --out - a command prints it",
}
# The option that gives what an error needs, by its name among the arguments.
_OPTIONS = {
    "key": ("password_file", "--password-file FILE gives it"),
    "lockout": ("lockout_password_file", "--password-file FILE gives it"),
    "parent": ("parent_password_file", "--parent-password-file FILE gives it"),
    "hierarchy": ("owner_password_file", "--owner-password-file FILE gives it"),
    "endorsement": ("endorsement_password_file", "--endorsement-password-file FILE gives it"),
    "source": ("from_password_file", "--from-password-file FILE gives it"),
    "consent": ("last_try", "--last-try sends it anyway"),
}


def command(step: NextStep) -> str:
    """The command or option for a step."""
    return step.fill(_COMMANDS[step.action])


def say(remedy: Remedy) -> str:
    """A remedy for a user of the command line."""
    return remedy if isinstance(remedy, str) else remedy.worded(command(remedy))


def option_that_gives(needs: str | None, args: Namespace | None = None) -> str:
    """The option of a command that gives what an error needs; empty if no option helps.

    The command may lack the option, or it was given but did not help. The screen asks instead.

    Args:
        args: the command's arguments; None for a command that has all these options.
    """
    option, words = _OPTIONS.get(needs or "", ("", ""))
    if args is None:
        return words
    return words if option in args and not getattr(args, option) else ""


def worded(data: Any) -> Any:
    """An answer's JSON with every remedy as text."""
    if isinstance(data, dict):
        remedy = {"remedy": say(remedy_from_json(data))} if "remedy" in data else {}
        return {key: worded(value) for key, value in data.items() if key != "next"} | remedy
    if isinstance(data, list | tuple):
        return [worded(value) for value in data]
    return data
