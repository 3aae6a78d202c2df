"""The form that starts a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tpmconsole.errors import usage_error
from tpmconsole.inputs import Target, parse_address, parse_number, parse_target
from tpmconsole.ui.dialogs.form import Field, FormDialog

if TYPE_CHECKING:
    from tpmconsole.session.spec import SessionSpec

FRESH: Mapping[str, str] = {}
ENGINES = ("auto", "provider", "bridge")
TARGET = "localhost:8443"
PROTOCOLS = {
    "tls": "the handshake authenticates both sides; the connection stays, nothing is sent",
    "line": "sends PING n, which a server of tpmconsole answers",
    "https": "fetches a path; in the address, https://HOST:PORT/PATH names one",
}


def start_form(
    role: str, identities: Sequence[str], before: Mapping[str, str] = FRESH
) -> FormDialog:
    """Asks for what a client or a server needs.

    Args:
        identities: the names of the identities that are ready.
        before: what to begin with: an identity, or what was typed and did not work.
    """
    fields = [
        Field(
            "identity",
            "Identity",
            before.get("identity", ""),
            "left and right change it",
            tuple(identities),
        ),
        Field(
            "address",
            "Connect" if role == "client" else "Listen",
            before.get("address", TARGET),
            "HOST:PORT or https://HOST:PORT/PATH" if role == "client" else "HOST:PORT",
            check=lambda values: _check_address(role, values),
        ),
        Field(
            "engine",
            "Engine",
            before.get("engine", "auto"),
            "auto takes the one that works here",
            ENGINES,
        ),
    ]
    if role == "client":
        fields += [
            Field(
                "protocol",
                "Protocol",
                before.get("protocol", ""),
                choices=tuple(PROTOCOLS),
                hints=PROTOCOLS,
            ),
            Field(
                "count",
                "Messages",
                before.get("count", ""),
                "empty: until it is stopped",
                check=_check_count,
            ),
        ]
    return FormDialog(f"Start a {role}", fields)


def session_spec(role: str, values: Mapping[str, str]) -> SessionSpec:
    """The session that the form's values describe.

    Raises:
        ConsoleError: one of them is not valid.
    """
    from tpmconsole.session.spec import SessionSpec

    target = _target(role, values)
    return SessionSpec(
        role=role,
        identity=values["identity"],
        host=target.host,
        port=target.port,
        protocol=target.protocol or values.get("protocol", "line"),
        path=target.path or "/",
        count=_count(values.get("count", "")),
        engine=values["engine"],
    )


def _target(role: str, values: Mapping[str, str]) -> Target:
    text = values["address"]
    return parse_target(text) if role == "client" else Target(*parse_address(text))


def _check_address(role: str, values: Mapping[str, str]) -> None:
    _target(role, values)


def _check_count(values: Mapping[str, str]) -> None:
    _count(values["count"])


def _count(text: str) -> int | None:
    if not text:
        return None
    number = parse_number(text)
    if not number:
        raise usage_error("Not a number", f"'{text}' is not a number of messages", "leave it empty")
    return number
