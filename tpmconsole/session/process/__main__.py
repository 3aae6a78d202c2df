"""The process of a session: ``python -m tpmconsole.session.process FOLDER``.

It reads what using the key takes from its standard input once, does what the folder's order.json
says, and writes facts and events into ``state`` there until it is told to end (SIGTERM) or has done
what it was to do. In a unit it is ``--service GIVEN``: systemd has put the order and the key file
where its credentials are, and the state into the unit's own folder; GIVEN has the certificates.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
import stat
import sys
from dataclasses import replace
from pathlib import Path

from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.secret import Secret, first_line, leave_no_core
from tpmconsole.session.directory import (
    STATE,
    SessionConfig,
    first_facts,
    read_order,
    session_of,
    with_given,
)
from tpmconsole.session.memory_folder import make_memory_folder
from tpmconsole.session.ownership import hold_lock
from tpmconsole.session.process.lifecycle import Session
from tpmconsole.session.tls.engine import PROVIDER
from tpmconsole.system.processes import boot_id, start_time
from tpmconsole.system.rates import QuietLog
from tpmconsole.tpm.auth import Auth
from tpmconsole.tpm.worker import protocol

PASSWORD_BYTES = 4096


def _read_auth() -> Auth:
    """What using the key takes: all of it through a pipe, which whoever starts a session writes.

    A unit's file (StandardInput=file:) has a line, the key's password; no file, nothing. Its other
    passwords are systemd's credentials.
    """
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        with open(0, "rb", buffering=0, closefd=False) as pipe:  # a buffer would keep it
            auth = Auth.of(protocol.read_job(pipe).message)
    else:
        auth = Auth(_read_line(0), parent=_credential("parent"), owner=_credential("owner"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return auth


def _credential(name: str) -> Secret | None:
    """A password that ``LoadCredential=`` of a unit has put into a file of its own."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        return None
    try:
        file = os.open(Path(folder, name), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return _read_line(file)
    finally:
        os.close(file)


def _read_line(file: int) -> Secret | None:
    buffer, size = Secret(PASSWORD_BYTES), 0
    with memoryview(buffer) as room:
        while count := os.readv(file, [room[size:]]):
            size += count
    with memoryview(buffer) as room:
        given = Secret(room[:size])
    return first_line(given) or None


def _settle_openssl(engine: str) -> None:
    """Have OpenSSL read its configuration now, and nobody else after it.

    Raises:
        ConsoleError: the provider does not start.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    except ssl.SSLError as error:
        if engine != PROVIDER:
            raise
        raise ConsoleError(
            "Provider does not start",
            "OpenSSL's tpm2 provider could not be loaded with the session's configuration",
            NextStep(Action.USE_ENGINE, "bridge", "look into the session's log, or use {}"),
        ) from error
    finally:
        # cryptography carries an OpenSSL of its own, which must not load the provider too.
        os.environ.pop("OPENSSL_CONF", None)


async def _run(session: Session) -> None:
    code = await session.run()
    logging.shutdown()
    # Not by way of the interpreter's end: a thread may wait for the TPM or a name server for ever,
    # and OpenSSL and the TSS may have their own opinion on the order of things.
    os._exit(code)


def _places(arguments: list[str]) -> tuple[str, Path, Path, SessionConfig]:
    """Which session this is, where its key file is, where it says how it is, and its order.

    Raises:
        ConsoleError: its order is missing or damaged.
    """
    if arguments[0] != "--service":
        folder = Path(arguments[0])
        order = read_order(folder)
        if order.memory is not None and not make_memory_folder(order.memory):
            order = replace(order, memory=None)
        return folder.name, folder, folder / STATE, order
    told = Path(os.environ["CREDENTIALS_DIRECTORY"])
    order = with_given(read_order(told), Path(arguments[1]))
    return session_of(order.unit or ""), told, Path(os.environ["STATE_DIRECTORY"]), order


def main(arguments: list[str]) -> int:
    """Run the session that a folder describes.

    Args:
        arguments: the folder, or ``--service`` and the folder of the certificates.

    Returns:
        The process's exit code, where the session could not begin; else it ends by itself.
    """
    leave_no_core()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    os.chdir("/")
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(QuietLog())
    name, told, state, order = _places(arguments)
    try:
        hold_lock(state)  # until this process ends
    except ConsoleError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - words, and no traceback
        return error.exit_code
    auth = _read_auth()
    # Of this boot and a process of its own, also where systemd starts it again and again.
    order = replace(order, boot=boot_id())
    facts = first_facts(name, order).begun(os.getpid(), start_time(os.getpid()), order.spec.address)
    auth = replace(auth, spend_last_attempt=order.spec.last_try)
    session = Session(told, state, order, facts, auth)
    session.live.keep(durable=True)
    try:
        _settle_openssl(order.engine.name)
    except ConsoleError as error:
        session.live.fail(error)
        return ExitCode.NO
    asyncio.run(_run(session))
    return ExitCode.YES


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
