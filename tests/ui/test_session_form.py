"""What the form that starts a session makes of an address."""

from __future__ import annotations

import pytest

from tpmconsole.errors import ConsoleError
from tpmconsole.ui.pages.sessions.form import session_spec


def values(address: str, protocol: str = "line") -> dict[str, str]:
    return {
        "identity": "gateway",
        "address": address,
        "engine": "auto",
        "protocol": protocol,
        "count": "",
    }


def test_a_url_says_protocol_and_path() -> None:
    spec = session_spec("client", values("https://gateway.local/status"))
    assert (spec.host, spec.port) == ("gateway.local", 443)
    assert (spec.protocol, spec.path) == ("https", "/status")
    spec = session_spec("client", values("gateway.local:8443", "https"))
    assert (spec.protocol, spec.path) == ("https", "/")


def test_a_server_listens_on_no_url() -> None:
    with pytest.raises(ConsoleError, match="Not an address"):
        session_spec("server", values("https://gateway.local:8443"))
