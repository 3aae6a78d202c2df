"""Commands for keys: list, create, persist, evict, forget."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.cli.common import Answer, confirm, read_auth, read_password
from tpmconsole.cli.next_steps import command, option_that_gives, say
from tpmconsole.cli.parser import (
    add_command,
    if_missing_option,
    key_password_options,
    other_password_options,
    owner_password_option,
)
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, usage_error
from tpmconsole.tpm.auth import NO_AUTH
from tpmconsole.tpm.handles import parse_handle
from tpmconsole.tpm.model import Algorithm, KeyCheck, KeyKind, algorithm_words

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.board.keys import KeyList
    from tpmconsole.identity.identity import Identity
    from tpmconsole.tpm.model import SoftwareKey


def _keys(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.keys import list_keys
    from tpmconsole.board.lines import key_lines

    auth = read_auth(args) if args.prove else NO_AUTH
    keys = list_keys(board, args.paths, prove=args.prove, auth=auth, describe=_describe)
    return Answer(keys.to_json(), key_lines(keys, say), _keys_code(keys, args))


def _keys_code(keys: KeyList, args: Namespace) -> ExitCode:
    """Whether the answer is a "no": a named file or folder, or the chosen TPM, is missing."""
    if keys.no_tpm and (args.prove or not args.paths):
        return keys.no_tpm.exit_code
    named = {str(path) for path in args.paths}
    missing = any(one.path in named and one.kind is KeyKind.UNREADABLE for one in keys.files)
    return ExitCode.NO if keys.refused or missing else ExitCode.YES


def _describe(answer: KeyCheck) -> str:
    """The answer of a key check, with the option or the command that helps."""
    from tpmconsole.board.parents import way_out

    step = way_out(answer)
    more = say(step) if step is not None else option_that_gives(answer.needs)
    if answer.needs == "key":  # the key file may be wrong about the password
        more += f", {command(NextStep(Action.GIVE_NO_PASSWORD))} says that it has no password"
    return f"{answer.reason}; {more}" if more else answer.reason


def _create(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.keys import create_key
    from tpmconsole.board.phrases import guard_words, import_warning

    _check_one_source(args)
    text = args.handle or args.from_handle
    handle = parse_handle(text) if text else None
    if args.if_missing and args.name in board.identities.names():
        return _created_before(board.identities.get(args.name), args.algorithm, handle)
    if args.from_file is not None or args.from_handle is not None:
        return _adopt(board, args, handle)
    kind = _kind(args)
    auth = read_auth(args)
    identity = create_key(
        board,
        args.name,
        kind,
        auth,
        handle,
        noda=args.no_lockout,
    )
    data = _created(identity)
    what, where = f"{algorithm_words(identity.algorithm)} key", data["key"]
    counts = bool(auth.key) and not args.no_lockout
    lockout = board.status(brief=True).lockout if counts else None
    guard = guard_words(password=bool(auth.key), noda=args.no_lockout, lockout=lockout)
    if isinstance(kind, Algorithm):
        made = f"{identity.name}: {what} made in the TPM, {where}"
        return Answer(data, [made, guard], changed=True)
    warning = import_warning(str(kind.path))
    made = f"{identity.name}: {what} imported into the TPM, {where}"
    data |= {"source": str(kind.path), "warning": " ".join(warning)}
    return Answer(data, [made, guard, *(f"WARNING: {line}" for line in warning)], changed=True)


def _check_one_source(args: Namespace) -> None:
    """Refuse options that do not fit an existing key.

    Raises:
        ConsoleError: two keys are named, or an option that only a new key can have.
    """
    named = {
        "--from-file": args.from_file,
        "--from-handle": args.from_handle,
        "--from": args.source,
        "--algorithm": args.algorithm,
        "--handle": args.handle,
        "--no-lockout": args.no_lockout or None,
    }
    given = [option for option, value in named.items() if value is not None]
    if len(given) > 1 and given[0] in ("--from-file", "--from-handle"):
        raise usage_error(
            "Key not adopted",
            f"a key is adopted as it is, and {given[0]} was given with {', '.join(given[1:])}",
            f"give {given[0]} alone; persist can then move a key file's key to a handle",
        )


def _adopt(board: Board, args: Namespace, handle: int | None) -> Answer:
    from tpmconsole.board.adopt import adopt_file, adopt_handle

    auth = read_auth(args)
    if handle is None:
        identity, source = adopt_file(board, args.name, args.from_file, auth), str(args.from_file)
    else:
        identity, source = adopt_handle(board, args.name, handle, auth), f"0x{handle:08x}"
    assert identity.pin is not None  # noqa: S101 - it was just made
    what, digits = f"{algorithm_words(identity.algorithm)} key", identity.pin.sha256
    return Answer(
        _created(identity) | {"key_sha256": digits, "adopted_from": source},
        [
            f"{identity.name}: {what} adopted, {source}",
            f"its SHA-256 is {digits}: compare it with what is known of your key",
        ],
        changed=True,
    )


def _created(identity: Identity) -> dict[str, str]:
    handle = identity.handle
    return {
        "identity": identity.name,
        "algorithm": identity.algorithm,
        "key": str(identity.folder / "key.pem") if handle is None else f"0x{handle:08x}",
        "origin": identity.origin,
    }


def _created_before(identity: Identity, algorithm: str | None, handle: int | None) -> Answer:
    """The existing identity, if it is what was asked for."""
    data = _created(identity)
    what = f"{algorithm_words(identity.algorithm)} key"
    differs = algorithm not in (None, identity.algorithm) or handle not in (None, identity.handle)
    if identity.problem or differs:
        raise ConsoleError(
            "Name is taken",
            identity.problem or f"'{identity.name}' has an {what}, {data['key']}",
            "choose another name; tpmconsole never replaces a key",
        )
    line = f"{identity.name}: {what} already exists, {data['key']}"
    return Answer(data, [line], changed=False)


def _kind(args: Namespace) -> Algorithm | SoftwareKey:
    """What to make, or the key to import; its file determines the algorithm."""
    from tpmconsole.board.keys import software_key

    if args.source is None:
        if args.from_password_file is not None:
            raise usage_error("No file to import", "--from is missing", "add --from FILE")
        return Algorithm(args.algorithm or Algorithm.EC_P256)
    found = software_key(args.source, read_password(args.from_password_file))
    if args.algorithm not in (None, found.algorithm.value):
        raise usage_error(
            "Another algorithm",
            f"{args.source} holds an {found.algorithm.value} key, not {args.algorithm}",
            "leave --algorithm out: the file determines it",
        )
    return found


def _persist(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.keys import plan_persist

    handle = parse_handle(args.handle)
    confirm(plan_persist(board, args.name, handle), args)
    data = {"identity": args.name, "handle": f"0x{handle:08x}"}
    moved = f"{args.name}: its key is now at 0x{handle:08x}, inside the TPM"
    return Answer(data, [moved], changed=True)


def _evict(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.dependents import plan_evict

    plan = plan_evict(board, parse_handle(args.handle))
    lost = confirm(plan, args)
    data = {"handle": plan.subject, "evicted": True, "needed_by": list(lost)}
    lines = [f"removed {plan.subject}", *(f"no longer works: {line}" for line in lost)]
    return Answer(data, lines, changed=True)


def _forget(board: Board, args: Namespace) -> Answer:
    from tpmconsole.board.dependents import plan_forget

    plan = plan_forget(board, args.name)
    confirm(plan, args)
    data = {"identity": args.name, "forgotten": True, "lost": list(plan.losses)}
    return Answer(data, [f"{args.name}: forgotten", *plan.losses], changed=True)


def add_commands(commands: Any) -> None:
    keys = add_command(
        commands,
        "keys",
        _keys,
        "list TSS2 key files and persistent handles",
        "tpmconsole keys /media/usb0 --prove",
    )
    keys.add_paths("paths", metavar="PATH", help="file or folder")
    keys.add_argument(
        "--prove",
        action="store_true",
        help="let this TPM sign with each key; exit 1 if a key file or an identity's key fails",
    )
    key_password_options(keys)
    other_password_options(keys)
    create = add_command(
        commands,
        "create",
        _create,
        "make an identity with a new key in the TPM, or with an existing key",
        "tpmconsole create gateway --algorithm ec-p384",
    )
    create.add_argument("name", metavar="NAME")
    if_missing_option(create, "an identity of that name and kind already exists")
    create.add_argument(
        "--algorithm",
        choices=[one.value for one in Algorithm],
        help=f"default: {Algorithm.EC_P256.value}",
    )
    key_password_options(create)
    other_password_options(create)
    create.add_argument(
        "--no-lockout",
        action="store_true",
        help="wrong passwords of this key do not count towards the TPM's lock-out",
    )
    create.add_argument(
        "--handle", metavar="0x81...", help="keep it inside the TPM, at this handle"
    )
    create.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="import a private key made elsewhere (PEM, DER or PKCS#12), instead of making one",
    )
    create.add_argument(
        "--from-password-file",
        type=Path,
        metavar="F",
        help="the passphrase of the FILE of --from",
    )
    create.add_argument(
        "--from-file",
        type=Path,
        metavar="KEY",
        help="adopt a TSS2 key file that another tool made with this TPM; a copy is kept",
    )
    create.add_argument(
        "--from-handle",
        metavar="0x81...",
        help="adopt the key at this handle, such as the maker's; it is not moved",
    )

    persist = add_command(
        commands,
        "persist",
        _persist,
        "move an identity's key to a persistent handle; its key file is permanently removed",
        "tpmconsole persist gateway 0x81000010 --yes",
    )
    persist.add_argument("name", metavar="NAME")
    persist.add_argument("handle", metavar="0x81...")
    persist.add_argument(
        "--yes", action="store_true", help="without it, only says what would be lost"
    )
    other_password_options(persist)
    evict = add_command(
        commands,
        "evict",
        _evict,
        "remove a persistent key from the TPM permanently",
        "tpmconsole evict 0x81000010 --yes",
    )
    evict.add_argument("handle", metavar="0x81...")
    evict.add_argument(
        "--yes", action="store_true", help="without it, only says what would be lost"
    )
    owner_password_option(evict)
    forget = add_command(
        commands,
        "forget",
        _forget,
        "remove an identity: its key file, certificate and trust; a key at a handle stays",
        "tpmconsole forget gateway --yes",
    )
    forget.add_argument("name", metavar="NAME")
    forget.add_argument(
        "--yes", action="store_true", help="without it, only says what would be lost"
    )
