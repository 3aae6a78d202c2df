"""Start, restart, reload and stop sessions, and install them as systemd services."""

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
    """Start a mutual-TLS client or server that keeps running when the caller ends.

    Raises:
        ConsoleError: as ``credentials`` does, or the session could not start.
    """
    credentials = credentials_of(board, spec, auth)
    _check_parent(board, spec, credentials.key, auth)
    facts = board.sessions.start(spec, credentials, board.connect(), auth)
    board.record("session start", identity=spec.identity, session=facts.id, role=spec.role)
    return facts


def _check_parent(board: Board, spec: SessionSpec, key: KeyRef, auth: Auth) -> None:
    """Find out whether the key's parent has a password, if that is not known yet.

    The only way is to use an empty password, which may cost one of the TPM's attempts. The
    board's worker remembers the answer; otherwise each session process would repeat the attempt.

    Raises:
        ConsoleError: the parent has a password, or the key itself needs another one.
    """
    from tpmconsole.tpm import keyfile

    if auth.parent is not None or key.pem is None:
        return
    if keyfile.parse(key.pem).parent < PERSISTENT_FIRST:  # a hierarchy: its attempts do not count
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
    """The key, the certificate and the trust anchors that a session would use.

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
    """Check the chain's key identifiers. Our own handshakes do not: they trust the leaf.

    Damaged files are left to the session, which reports them.

    Raises:
        ConsoleError: a certificate's key identifier is not that of the CA that signed it.
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
        ConsoleError: there is no such session.
    """
    facts = board.sessions.stop(session)
    board.record("session stop", session=session)
    return facts


def restart(board: Board, session: str, auth: Auth) -> SessionStatus:
    """Start a session again with the same options; end it first if it is still running.

    The new session gets a new id: the files of the old one are kept.

    Args:
        auth: what using the key needs; the last attempt is spent if this or the session allows it.

    Raises:
        ConsoleError: there is no such session, systemd runs it, or its key cannot be used now (it
            then keeps running unchanged); or it does not end, or does not start again.
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
    """Check a session's key before the running session is ended.

    Raises:
        ConsoleError: the identity is no longer ready, the TPM does not sign with its key, or no
            engine can use it any longer.
    """
    from tpmconsole.session.tls.engine import choose

    key = credentials_of(board, spec, auth).key
    found = board.tpm.check_key(key, replace(auth, spend_last_attempt=spec.last_try))
    # If the TPM has no room, the running session may be what occupies it.
    if found.answer not in ("yes", "no-room"):
        raise ConsoleError(
            "Session not restarted",
            found.reason,
            "then restart it again; it keeps running until then",
            ExitCode.REFUSED,
            needs=found.needs,
        )
    assert board.tpm.connection is not None  # noqa: S101 - it has just answered
    choose(spec.engine, key, board.tpm.connection, auth)


def reload(board: Board, session: str) -> SessionStatus:
    """Have a session read its certificate, trust anchors and revocation lists again.

    Raises:
        ConsoleError: it is not running, systemd runs it, or the files cannot be used as they are
            now; or its identity's key is gone: the session would keep using its own copy, and
            fail at the next restart.
    """
    facts = board.sessions.show(session)
    if facts.state == "running" and facts.unit is None:
        _check_key_is_there(board, board.sessions.spec(session).identity)
    with board.recording("session reload", session=session):
        return board.sessions.reload(session)


def _check_key_is_there(board: Board, name: str) -> None:
    """Check an identity's key file; the session itself checks a key at a handle.

    Raises:
        ConsoleError: it is gone, or it holds another key.
    """
    try:
        identity = board.identities.get(name)
        if identity.handle is None:
            checked_source(board, identity)
    except ConsoleError as error:
        raise ConsoleError(
            error.title,
            f"{error.cause}; the session keeps using what it read before",
            error.remedy,
            error.exit_code,
        ) from error


def crl_state(board: Board, session: SessionStatus) -> Finding | None:
    """How long a session's list of revoked certificates is still valid.

    Returns:
        None if the session has no list, or has ended.
    """
    from tpmconsole.session.revocation import crl_finding

    return crl_finding(session, clock.now(), board.settings.warn_days)


@dataclass(frozen=True, slots=True)
class Outdated:
    """A session that has not read its identity's files since they were changed.

    Attributes:
        step: how to make it read them.
    """

    session: str
    step: Remedy


def outdated(board: Board, name: str) -> tuple[Outdated, ...]:
    """The sessions that still use an identity's old files, just after these were changed."""
    running = [one for one in board.sessions.list() if one.identity == name and not one.state.ended]
    trusts = board.identities.get(name).has_trust
    return tuple(_outdated(one, trusts=trusts) for one in running)


_OF_SYSTEMD = {Action.STOP: "stop", Action.RELOAD: "reload", Action.RESTART: "restart"}


def _outdated(session: SessionStatus, *, trusts: bool) -> Outdated:
    if not trusts:  # an empty list of trust anchors is not read: it would keep the old one
        action = Action.STOP
    elif session.state == "running":
        action = Action.RELOAD
    else:  # not ready for its first connection yet: it cannot reload
        action = Action.RESTART
    if session.unit is not None:
        return Outdated(session.id, f"systemctl {_OF_SYSTEMD[action]} {session.unit}")
    return Outdated(session.id, NextStep(action, session.id))


def unit(board: Board, session: str, passwords: PasswordFiles) -> UnitFiles:
    """The systemd unit that runs a session at every boot.

    Raises:
        ConsoleError: it cannot be a service, or its key has a password that no file gives.
    """
    wanted = board.sessions.unit(session, passwords)
    identity = board.identities.get(board.sessions.spec(session).identity)
    if passwords.key is None and identity.auth == "password":
        raise usage_error(
            "Password needed",
            f"the key of '{identity.name}' has a password, and no one types it at every boot",
            NextStep(
                Action.GIVE_KEY_PASSWORD,
                text="write it to a file that only root can read, and add {}",
            ),
        )
    return wanted


def install(board: Board, session: str, passwords: PasswordFiles) -> tuple[UnitFiles, list[Path]]:
    """Turn a session into a systemd service.

    Returns:
        The unit with the files it needs, and the paths that were written.

    Raises:
        ConsoleError: it is running, cannot be a service, its identity's key is not the one that
            the identity was given, or the unit cannot be written.
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
    """Plan to stop a running session.

    Raises:
        ConsoleError: there is no such session.
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
    """Plan to start a session again; errors as ``plan_stop``."""
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
    """What is lost when a session ends."""
    if not status.connections:
        return "It is running; nobody is connected."
    are = "connection is" if status.connections == 1 else "connections are"
    return f"{status.connections} open {are} dropped."
