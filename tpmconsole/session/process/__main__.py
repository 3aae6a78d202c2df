"""The process of a session: ``python -m tpmconsole.session.process FOLDER``.

It reads the passwords that the key needs from its standard input once, does what the folder's
order.json says, and writes its status and events to ``state`` there until it is stopped (SIGTERM)
or has finished. In a unit it is ``--service GIVEN``: the order and the key file are among the
credentials from systemd, the state is in the unit's own folder, and GIVEN has the certificates.
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
    """Read the passwords that the key needs from the pipe of the program that starts the session.

    In a unit, standard input is a file (StandardInput=file:) with one line, the key's password, or
    is empty. The other passwords are credentials from systemd.
    """
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        with open(0, "rb", buffering=0, closefd=False) as pipe:  # a buffer would keep a copy
            auth = Auth.of(protocol.read_job(pipe).message)
    else:
        auth = Auth(_read_line(0), parent=_credential("parent"), owner=_credential("owner"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return auth


def _credential(name: str) -> Secret | None:
    """Read a password that ``LoadCredential=`` of a unit has put into a file of its own."""
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
    """Make OpenSSL read its configuration now, and keep every other library from reading it.

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
            NextStep(Action.USE_ENGINE, "bridge", "look at the session's log, or use {}"),
        ) from error
    finally:
        # cryptography contains another OpenSSL, which must not load the provider too.
        os.environ.pop("OPENSSL_CONF", None)


async def _run(session: Session) -> None:
    code = await session.run()
    logging.shutdown()
    # Skip the interpreter's shutdown: a thread may wait for the TPM or a name server forever, and
    # OpenSSL and the TSS may clean up in an order that crashes.
    os._exit(code)


def _places(arguments: list[str]) -> tuple[str, Path, Path, SessionConfig]:
    """Return the session's id, the folder of its key file, its state folder, and its order.

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
        The exit code if the session could not start; otherwise the process ends in ``_run``.
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
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - a message, no traceback
        return error.exit_code
    auth = _read_auth()
    # Boot and process are always the present ones, even if systemd starts the session repeatedly.
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
