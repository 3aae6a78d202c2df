"""One function per command: from its arguments to what it answers."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpmconsole.board import Board
from tpmconsole.errors import ConsoleError, ExitCode, usage_error
from tpmconsole.files import read_bounded, write_atomic
from tpmconsole.inputs import parse_address, parse_handle
from tpmconsole.provision import CERTIFICATE_BYTES
from tpmconsole.tpm.model import Algorithm, SelfTestResult
from tpmconsole.tpm.passwords import NO_PASSWORDS, Passwords, check_password

if TYPE_CHECKING:
    from tpmconsole.tpm.softkey import SoftwareKey

PASSWORD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command says: data for ``--json``, lines for people, and its exit code.

    ``stream``: ``data`` is many objects that may come slowly; each is printed on a line of its own.
    """

    data: Any
    lines: Iterable[str]
    exit_code: ExitCode = ExitCode.YES
    stream: bool = False


def _password(path: Path | None) -> bytes | None:
    """The first line of the password file, or of standard input for ``-``."""
    if path is None:
        return None
    if str(path) == "-":
        data = sys.stdin.buffer.readline(PASSWORD_BYTES)
    else:
        data = read_bounded(path, PASSWORD_BYTES)
    password = data.split(b"\n", 1)[0].rstrip(b"\r")
    if not password:  # a key without a password is made by leaving the option out, not by accident
        raise usage_error("No password", f"{path}: its first line is empty", "write one into it")
    check_password(password)
    return password


def _passwords(args: Namespace) -> Passwords:
    return Passwords(
        key=_password(args.password_file) if "password_file" in args else None,
        parent=_password(args.parent_password_file),
        hierarchy=_password(args.owner_password_file),
        last_try=args.last_try if "last_try" in args else True,
    )


def _status(board: Board, _: Namespace) -> Answer:
    from tpmconsole.answers import status_lines

    health = board.status()
    return Answer(health.to_json(), status_lines(health))


def _selftest(board: Board, args: Namespace) -> Answer:
    from tpmconsole.answers import self_test_lines

    result = board.self_test(full=not args.incremental)
    passed = result.result is SelfTestResult.PASSED
    return Answer(asdict(result), self_test_lines(result), ExitCode.YES if passed else ExitCode.NO)


def _keys(board: Board, args: Namespace) -> Answer:
    from tpmconsole.answers import key_lines

    passwords = _passwords(args) if args.prove else NO_PASSWORDS
    keys = board.keyring.list(args.paths, prove=args.prove, passwords=passwords)
    return Answer(keys.to_json(), key_lines(keys))


def _create(board: Board, args: Namespace) -> Answer:
    from tpmconsole.words import guard_words, import_warning

    handle = parse_handle(args.handle) if args.handle else None
    kind = _kind(args)
    password = _password(args.password_file)
    identity = board.keyring.create(
        args.name,
        kind,
        password,
        handle,
        noda=args.no_lockout,
        owner_password=_password(args.owner_password_file),
    )
    where = str(identity.folder / "key.pem") if handle is None else f"0x{handle:08x}"
    data = {
        "identity": identity.name,
        "algorithm": identity.algorithm,
        "key": where,
        "origin": identity.origin,
    }
    guard = guard_words(password=bool(password), noda=args.no_lockout)
    if isinstance(kind, Algorithm):
        made = f"{identity.name}: {identity.algorithm} key made in the TPM, {where}"
        return Answer(data, [made, guard])
    warning = import_warning(str(kind.path))
    made = f"{identity.name}: {identity.algorithm} key imported into the TPM, {where}"
    data |= {"source": str(kind.path), "warning": " ".join(warning)}
    return Answer(data, [made, guard, *(f"WARNING: {line}" for line in warning)])


def _kind(args: Namespace) -> Algorithm | SoftwareKey:
    """What to make, or the key to import; the file itself says which algorithm it is."""
    from tpmconsole.tpm.softkey import read_software_key

    if args.source is None:
        if args.from_password_file is not None:
            raise usage_error("No file to import", "--from is missing", "add --from FILE")
        return Algorithm(args.algorithm or Algorithm.EC_P256)
    found = read_software_key(args.source, _password(args.from_password_file))
    if args.algorithm not in (None, found.algorithm.value):
        raise usage_error(
            "Another algorithm",
            f"{args.source} holds an {found.algorithm.value} key, not {args.algorithm}",
            "leave --algorithm out: the file says what it is",
        )
    return found


def _persist(board: Board, args: Namespace) -> Answer:
    handle = parse_handle(args.handle)
    board.keyring.persist(args.name, handle, _passwords(args))
    data = {"identity": args.name, "handle": f"0x{handle:08x}"}
    return Answer(data, [f"{args.name}: its key is now at 0x{handle:08x}, inside the TPM"])


def _evict(board: Board, args: Namespace) -> Answer:
    from tpmconsole.keyuse import dependents

    handle = parse_handle(args.handle)
    keys = [key for key in board.keyring.persistent() if int(key.handle, 16) == handle]
    if not keys:
        raise ConsoleError(
            "No such handle", f"nothing is at 0x{handle:08x}", "run: tpmconsole keys"
        )
    lost = dependents(board, keys[0])
    what = f"0x{handle:08x}: {keys[0].algorithm}, {keys[0].purpose}"
    if not args.yes:
        used = f"; it is needed by {'; '.join(lost)}" if lost else ""
        raise usage_error("Not removed", f"this would be lost for good: {what}{used}", "add --yes")
    board.keyring.evict(handle, _password(args.owner_password_file))
    data = {"handle": f"0x{handle:08x}", "evicted": True, "needed_by": list(lost)}
    return Answer(data, [f"removed {what}", *(f"no longer works: {one}" for one in lost)])


def _lockout_reset(board: Board, args: Namespace) -> Answer:
    from tpmconsole.words import lockout_words, reset_danger

    before = board.status().lockout
    if before is None:
        raise ConsoleError(
            "Lock-out not told", "the TPM is in failure mode", "power the board off and on"
        )
    if not args.yes:
        raise usage_error("Not reset", " ".join(reset_danger(before)), "add --yes")
    board.keyring.reset_lockout(_password(args.password_file))
    after = board.status().lockout
    data = {"lockout": asdict(after) if after else None, "forgiven": before.failed_tries}
    return Answer(data, [lockout_words(after)])


def _request(board: Board, args: Namespace) -> Answer:
    from tpmconsole.identity.request import RequestSpec

    usual = board.provision.default_spec()
    spec = RequestSpec(
        subject=usual.subject if args.subject is None else args.subject,
        san=tuple(args.san) or usual.san,
        role=args.role or usual.role,
    )
    if args.preview:
        lines = board.provision.preview(args.name, spec)
        rows = (f"{label:<16} {text}" for label, text in lines)
        return Answer({"identity": args.name, "asks": lines}, rows)
    pem = board.provision.request(
        args.name,
        spec,
        _password(args.password_file),
        _out(args),
        owner_password=_password(args.owner_password_file),
    )
    return _requested(board, args, pem)


def _renew(board: Board, args: Namespace) -> Answer:
    pem = board.provision.renew(
        args.name,
        new_name=args.new_key,
        password=_password(args.password_file),
        out=_out(args),
        owner_password=_password(args.owner_password_file),
    )
    args.name = args.new_key or args.name
    return _requested(board, args, pem)


def _out(args: Namespace) -> Path | None:
    return None if str(args.out) == "-" else args.out


def _requested(board: Board, args: Namespace, pem: bytes) -> Answer:
    """A request was made: where it is, or itself."""
    path = str(_out(args) or board.identities.get(args.name).request)
    lines = [f"{path}: hand this request to your CA, then run: tpmconsole import {args.name} FILE"]
    if str(args.out) == "-":
        lines = pem.decode().splitlines()
    return Answer({"identity": args.name, "request": path, "pem": pem.decode()}, lines)


def _import(board: Board, args: Namespace) -> Answer:
    if args.undo:
        return _undo(board, args)
    from tpmconsole.answers import verdict_lines
    from tpmconsole.identity.certificate import describe

    if not args.files:
        raise usage_error("Wrong usage", "no FILE is given", "see: tpmconsole import --help")
    bundles = [_certificate_file(path) for path in args.files]
    trust = _certificate_file(args.trust) if args.trust else None
    judgement = board.installer.judge(
        args.name,
        bundles,
        trust,
        args.role,
        _password(args.password_file),
        owner_password=_password(args.owner_password_file),
    )
    install = judgement.acceptable and not args.check
    if install:
        board.installer.install(args.name, judgement)
    elif not args.check:
        board.installer.refuse(args.name, judgement)
    added = [describe(one) for one in judgement.added]
    data = {
        "verdicts": [one.to_json() for one in judgement.verdicts],
        "installed": install,
        "trust_added": [one.to_json() for one in added if install],
    }
    exit_code = ExitCode.YES if judgement.acceptable else ExitCode.NO
    lines = verdict_lines(args.name, judgement.verdicts, install, added)
    return Answer(data, lines, exit_code)


def _undo(board: Board, args: Namespace) -> Answer:
    if args.files or args.trust or args.check:
        raise usage_error("Wrong usage", "--undo takes no files", "see: tpmconsole import --help")
    facts = board.installer.undo(args.name)
    line = f"{args.name}: back to '{facts.subject}', until {facts.not_after:%Y-%m-%d}"
    return Answer({"identity": args.name, "certificate": facts.to_json()}, [line])


def _certificate_file(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read(CERTIFICATE_BYTES + 1)
    return read_bounded(path, CERTIFICATE_BYTES)


def _trust(board: Board, args: Namespace) -> Answer:
    from tpmconsole.answers import anchor_lines

    if args.remove is None:
        anchors = board.installer.trust(args.name)
        return Answer([one.to_json() for one in anchors], anchor_lines(anchors))
    anchor = board.installer.anchor(args.name, args.remove)
    what = f"'{anchor.subject}' (SHA-256 {anchor.fingerprint})"
    if not args.yes:
        raise usage_error("Not removed", f"'{args.name}' would trust {what} no more", "add --yes")
    board.installer.remove_anchor(args.name, args.remove)
    data = {"identity": args.name, "removed": anchor.to_json()}
    return Answer(data, [f"{args.name}: trusts {what} no more"])


def _demo_sign(board: Board, args: Namespace) -> Answer:
    from tpmconsole.answers import verdict_lines

    verdicts = board.installer.demo_sign(args.name).verdicts
    data = {"verdicts": [one.to_json() for one in verdicts], "installed": True}
    return Answer(data, verdict_lines(args.name, verdicts, installed=True))


def _session_start(board: Board, args: Namespace) -> Answer:
    from tpmconsole.answers import session_lines
    from tpmconsole.session.model import SessionSpec

    is_client = args.role == "client"
    host, port = parse_address(args.connect if is_client else args.listen)
    spec = SessionSpec(
        role=args.role,
        identity=args.name,
        host=host,
        port=port,
        protocol=args.protocol if is_client else "line",
        interval_s=args.interval if is_client else 1.0,
        count=args.count if is_client else None,
        path=args.path if is_client else "/",
        engine=args.engine,
        min_tls=args.min_tls,
        max_tls=args.max_tls,
    )
    facts = board.start_session(spec, _password(args.password_file))
    return Answer(facts.to_json(), session_lines([facts]))


def _session_list(board: Board, _: Namespace) -> Answer:
    from tpmconsole.answers import session_lines

    sessions = board.sessions.list()
    return Answer([one.to_json() for one in sessions], session_lines(sessions))


def _session_show(board: Board, args: Namespace) -> Answer:
    from tpmconsole.answers import session_facts_lines

    facts = board.sessions.show(args.id)
    code = ExitCode.NO if facts.state == "failed" else ExitCode.YES
    return Answer(facts.to_json(), session_facts_lines(facts), code)


def _session_stop(board: Board, args: Namespace) -> Answer:
    facts = board.stop_session(args.id)
    return Answer(facts.to_json(), [f"{facts.id}: {facts.state}"])


def _session_events(board: Board, args: Namespace) -> Answer:
    from tpmconsole.answers import event_line

    events = board.sessions.events(args.id, follow=args.follow)
    return Answer(events, (event_line(one) for one in events), stream=True)


def _doctor(board: Board, _: Namespace) -> Answer:
    from tpmconsole.answers import doctor_lines
    from tpmconsole.doctor import examine, worst

    findings = examine(board)
    code = ExitCode.NO if worst(findings) == "fail" else ExitCode.YES
    return Answer([one.to_json() for one in findings], doctor_lines(findings), code)


def _report(board: Board, args: Namespace) -> Answer:
    from tpmconsole.report import make_report

    report = make_report(board)
    if args.out:
        write_atomic(args.out, report.text.encode())
        return Answer(report.data, [f"{args.out}: {len(report.text)} characters"])
    return Answer(report.data, report.text.splitlines())


def _simulator_start(board: Board, _: Namespace) -> Answer:
    board.simulator.ensure()
    return _simulator_status(board, _)


def _simulator_stop(board: Board, _: Namespace) -> Answer:
    was_running = board.simulator.stop()
    data = board.simulator.status().to_json() | {"stopped": was_running}
    return Answer(data, ["stopped" if was_running else "was not running"])


def _simulator_status(board: Board, _: Namespace) -> Answer:
    status = board.simulator.status()
    parts = ", ".join(f"{name} {pid}" for name, pid in status.pids.items())
    lines = [f"running: {parts}" if status.running else "not running"]
    code = ExitCode.YES if status.running else ExitCode.NO
    return Answer(status.to_json(), lines, code)


COMMANDS: dict[str, Callable[[Board, Namespace], Answer]] = {
    "status": _status,
    "selftest": _selftest,
    "keys": _keys,
    "create": _create,
    "persist": _persist,
    "evict": _evict,
    "lockout reset": _lockout_reset,
    "request": _request,
    "import": _import,
    "renew": _renew,
    "trust": _trust,
    "demo-ca sign": _demo_sign,
    "session start": _session_start,
    "session list": _session_list,
    "session show": _session_show,
    "session stop": _session_stop,
    "session events": _session_events,
    "doctor": _doctor,
    "report": _report,
    "simulator start": _simulator_start,
    "simulator stop": _simulator_stop,
    "simulator status": _simulator_status,
}
