"""What a session's owner does besides starting and stopping: look around, keep it going."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole import clock
from tpmconsole.board.open_key import checked_source
from tpmconsole.board.plan import Plan
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep, Remedy, usage_error
from tpmconsole.tpm.auth import NO_AUTH, Auth
from tpmconsole.tpm.handles import PERSISTENT_FIRST

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.finding import Finding
    from tpmconsole.identity.store import Identity
    from tpmconsole.session.spec import Credentials, PasswordFiles, SessionSpec
    from tpmconsole.session.status import SessionStatus
    from tpmconsole.system.systemd import UnitFiles
    from tpmconsole.tpm.model import KeyRef


def start_session(board: Board, spec: SessionSpec, auth: Auth = NO_AUTH) -> SessionStatus:
    """Start a mutual-TLS client or server that outlives us.

    Raises:
        ConsoleError: as ``credentials`` does, or the session could not start.
    """
    credentials = credentials_of(board, spec, auth)
    _check_parent(board, spec, credentials.key, auth)
    facts = board.sessions.start(spec, credentials, board.connect(), auth)
    board.record("session start", identity=spec.identity, session=facts.id, role=spec.role)
    return facts


def _check_parent(board: Board, spec: SessionSpec, key: KeyRef, auth: Auth) -> None:
    """Find out here whether the key's parent has a password, where that is not known.

    Only trying an empty one tells, which may cost one of the TPM's tries. The board's worker
    remembers the answer; each session's process would have to find out for itself.

    Raises:
        ConsoleError: it has one, or the key itself takes another.
    """
    from tpmconsole.tpm import keyfile

    if auth.parent is not None or key.pem is None:
        return
    if keyfile.parse(key.pem).parent < PERSISTENT_FIRST:  # a hierarchy: no try of it counts
        return
    found = board.tpm.check_key(key, replace(auth, spend_last_attempt=spec.last_try))
    if found.needs is not None:
        raise ConsoleError(
            "Session not started",
            found.reason,
            "the session starts with it",
            ExitCode.REFUSED,
            needs=found.needs,
        )


def credentials_of(board: Board, spec: SessionSpec, auth: Auth) -> Credentials:
    """What a session would prove itself with.

    Raises:
        ConsoleError: there is no such identity, it has no certificate yet or one whose issuer no
            peer can find, its key's password is missing, or its key is not the one that it was
            given.
    """
    from tpmconsole.session.spec import Credentials

    identity = board.identities.get(spec.identity)
    run = NextStep(Action.IMPORT, identity.name, "run: {}")
    add = NextStep(Action.ADD_TRUST, identity.name, "add its CA: {}")
    for there, what, remedy in (
        (identity.has_certificate, "certificate", run),
        (identity.has_trust, "trust anchors for its peer", add),
    ):
        if not there:
            raise ConsoleError(
                "Identity not ready",
                f"'{identity.name}' has no {what} yet",
                remedy,
            )
    identity.check_given(auth.key)
    _check_links(board, identity)
    return Credentials(
        identity=identity.name,
        key=checked_source(board, identity),
        certificate=identity.certificate,
        trust=identity.trust,
    )


def _check_links(board: Board, identity: Identity) -> None:
    """Look at the chain's key identifiers, which no handshake of ours does: it trusts the leaf.

    What is damaged is told by the session itself.

    Raises:
        ConsoleError: a certificate names another key than that of the CA that signed it.
    """
    from tpmconsole.identity.identity import kept_chain, unless_damaged
    from tpmconsole.x509.chain import find_path
    from tpmconsole.x509.chain_faults import another_key_named

    chain = unless_damaged(lambda: kept_chain(identity))
    if not chain:
        return
    anchors = unless_damaged(lambda: board.identities.trust_certificates(identity.name)) or []
    path = find_path(chain[0], chain[1:], anchors, clock.now())
    if path.not_named is not None:
        fault = another_key_named(path.certificates[-1], path.not_named)
        raise ConsoleError("Certificate refused", fault.text, fault.remedy)


def stop_session(board: Board, session: str) -> SessionStatus:
    """End a session.

    Raises:
        ConsoleError: there is none of that name.
    """
    facts = board.sessions.stop(session)
    board.record("session stop", session=session)
    return facts


def restart(board: Board, session: str, auth: Auth) -> SessionStatus:
    """Start a session again with what it was told, ending it first where it still runs.

    It gets an id of its own: what the old one wrote stays.

    Args:
        auth: what using the key takes; the last attempt is spent where this or the session says so.

    Raises:
        ConsoleError: there is none of that name, systemd runs it, or its key cannot be used now:
            then it goes on as it was; or it does not end, or does not start again.
    """
    from tpmconsole.session.service import check_no_service

    spec, facts = board.sessions.spec(session), board.sessions.show(session)
    spec = replace(spec, last_try=auth.spend_last_attempt or spec.last_try)
    check_no_service(facts, "restart")
    if not facts.state.ended:
        _check_usable(board, spec, auth)
        stop_session(board, session)
    return start_session(board, spec, auth)


def _check_usable(board: Board, spec: SessionSpec, auth: Auth) -> None:
    """Try a session's key, before the one that runs is ended for another.

    Raises:
        ConsoleError: the identity is not ready any more, the TPM does not sign with its key, or
            there is no engine for it any more.
    """
    from tpmconsole.session.tls.engine import choose

    key = credentials_of(board, spec, auth).key
    found = board.tpm.check_key(key, replace(auth, spend_last_attempt=spec.last_try))
    # Where there is no room, the session that runs may have it.
    if found.answer not in ("yes", "no-room"):
        raise ConsoleError(
            "Not restarted",
            found.reason,
            "restart it again after that; it goes on until then",
            ExitCode.REFUSED,
            needs=found.needs,
        )
    assert board.tpm.connection is not None  # noqa: S101 - it has just answered
    choose(spec.engine, key, board.tpm.connection, auth)


def reload(board: Board, session: str) -> SessionStatus:
    """Have a session read its certificate, trust anchors and revocation lists again.

    Raises:
        ConsoleError: it does not run, systemd runs it, or what the files hold now cannot be used;
            or its identity's key is gone: the session would go on with its own copy, and end with
            the next restart.
    """
    facts = board.sessions.show(session)
    if facts.state == "running" and facts.unit is None:
        _check_key_is_there(board, board.sessions.spec(session).identity)
    with board.recording("session reload", session=session):
        return board.sessions.reload(session)


def _check_key_is_there(board: Board, name: str) -> None:
    """Look at an identity's key file; at a handle the session itself tries the key.

    Raises:
        ConsoleError: it is gone, or another key's.
    """
    try:
        identity = board.identities.get(name)
        if identity.handle is None:
            checked_source(board, identity)
    except ConsoleError as error:
        raise ConsoleError(
            error.title,
            f"{error.cause}; the session goes on with what it had before",
            error.remedy,
            error.exit_code,
        ) from error


def crl_state(board: Board, session: SessionStatus) -> Finding | None:
    """How long the list of revoked certificates still holds that a session judges its peers by.

    Returns:
        None where it has none, or has ended.
    """
    from tpmconsole.session.revocation import crl_finding

    return crl_finding(session, clock.now(), board.settings.warn_days)


@dataclass(frozen=True, slots=True)
class Outdated:
    """A session that has not read its identity's files since they were changed.

    Attributes:
        step: what makes it read them.
    """

    session: str
    step: Remedy


def outdated(board: Board, name: str) -> tuple[Outdated, ...]:
    """The sessions of an identity that go on as before, just after its files were changed."""
    running = [one for one in board.sessions.list() if one.identity == name and not one.state.ended]
    trusts = board.identities.get(name).has_trust
    return tuple(_outdated(one, trusts=trusts) for one in running)


_OF_SYSTEMD = {Action.STOP: "stop", Action.RELOAD: "reload", Action.RESTART: "restart"}


def _outdated(session: SessionStatus, *, trusts: bool) -> Outdated:
    if not trusts:  # what trusts nobody is not read: it would go on as before
        action = Action.STOP
    elif session.state == "running":
        action = Action.RELOAD
    else:  # it has not come to its first connection yet, and is not told to read anything
        action = Action.RESTART
    if session.unit is not None:
        return Outdated(session.id, f"systemctl {_OF_SYSTEMD[action]} {session.unit}")
    return Outdated(session.id, NextStep(action, session.id))


def unit(board: Board, session: str, passwords: PasswordFiles) -> UnitFiles:
    """The systemd unit that runs a session at every boot.

    Raises:
        ConsoleError: it cannot be a service, or its key has a password and there is no file of it.
    """
    wanted = board.sessions.unit(session, passwords)
    identity = board.identities.get(board.sessions.spec(session).identity)
    if passwords.key is None and identity.auth == "password":
        raise usage_error(
            "Password needed",
            f"the key of '{identity.name}' has a password, and nobody types it at every boot",
            NextStep(
                Action.GIVE_KEY_PASSWORD,
                text="write it into a file that only root may read, and add {}",
            ),
        )
    return wanted


def install(board: Board, session: str, passwords: PasswordFiles) -> tuple[UnitFiles, list[Path]]:
    """Make a session one that systemd runs.

    Returns:
        What it takes, and which files were written.

    Raises:
        ConsoleError: it runs, cannot be a service, its identity's key is not the one that it was
            given, or the unit cannot be written.
    """
    from tpmconsole.system import systemd

    wanted = unit(board, session, passwords)
    checked_source(board, board.identities.get(board.sessions.spec(session).identity))
    with board.recording("session install", session=session):
        board.sessions.check_ended(session)
        written = systemd.install(wanted)
        board.sessions.hand_over(session)
    return wanted, written


def plan_stop(board: Board, session: str) -> Plan[SessionStatus]:
    """To end a session that runs.

    Raises:
        ConsoleError: there is none of that name.
    """
    status = board.sessions.show(session)
    return Plan(
        title=f"Stop {session}",
        losses=(_lost_with(status),),
        question="End it?",
        doing=f"stopping {session}",
        apply=lambda _: stop_session(board, session),
        subject=session,
    )


def plan_restart(board: Board, session: str) -> Plan[SessionStatus]:
    """To start a session again; errors as ``plan_stop``."""
    spec = board.sessions.spec(session)
    status = board.sessions.show(session)
    identity = board.identities.get(spec.identity)
    return Plan(
        title=f"Restart {session}",
        losses=() if status.state.ended else (_lost_with(status),),
        question="Start it again?",
        doing=f"restarting {session}",
        apply=lambda auth: restart(board, session, auth),
        subject=spec.identity,
        needs="key" if identity.auth == "password" else None,
        key=lambda: board.source(board.identities.get(spec.identity)),
    )


def _lost_with(status: SessionStatus) -> str:
    """What ends with a session that runs."""
    if not status.connections:
        return "It is running; nobody is connected."
    are = "connection is" if status.connections == 1 else "connections are"
    return f"{status.connections} open {are} dropped."
