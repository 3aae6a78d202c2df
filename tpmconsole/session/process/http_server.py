"""A server's answers in HTTP/1.1, read and framed by h11 (RFC 9110, RFC 9112).

Enough for a browser, curl and the health check of a load balancer: a page of text at ``/``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from tpmconsole.text import printable

if TYPE_CHECKING:
    from tpmconsole.session.process.tls_stream import TlsStream

HEADER_BYTES = 16 * 1024
_ALLOWED = ("GET", "HEAD")
# Methods that we know and do not allow (RFC 9110, 9.1; RFC 5789); others are unknown (15.6.2).
_KNOWN = (*_ALLOWED, "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_PATHS = ("/", "/status")
# Bytes after such a request are perhaps not a request at all.
_LAST = (HTTPStatus.BAD_REQUEST, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
# RFC 9112, 3.2: the value of the Host field, and a URL as the target (3.2.2).
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]*)(?::\d{0,5})?", re.ASCII)
_URL = re.compile(r"https?://([^/?#]+)([^#]*)", re.ASCII | re.IGNORECASE)
_TEXT_LENGTH = 80


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    page: str
    allow: bool = False


class HttpServer:
    """Answers the requests of one connection.

    Args:
        stream: the connection.
        begun: the bytes already read from it.
        page: makes the page.
        tell: called with each request and the status of its answer.
        timeout_s: for a request's header, and between two requests.
    """

    def __init__(
        self,
        stream: TlsStream,
        begun: bytes,
        page: Callable[[], str],
        tell: Callable[[str, int], None],
        timeout_s: float,
    ) -> None:
        self._stream = stream
        self._page = page
        self._tell = tell
        self._timeout_s = timeout_s
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES)
        self._http.receive_data(begun)

    async def run(self) -> None:
        """Answer until the client or the rules of HTTP end the connection.

        Raises:
            TimeoutError: the next request does not come in time.
            OSError: the network or TLS failed.
        """
        while await self._answer_next():
            if (self._http.our_state, self._http.their_state) != (h11.DONE, h11.DONE):
                return
            self._http.start_next_cycle()

    async def refuse(self, status: HTTPStatus) -> None:
        """Answer a request that cannot be read; the connection ends with it."""
        self._tell("-", status)
        await self._send(_refusal(status), None, ends=True)

    async def _answer_next(self) -> bool:
        """Answer one request; return whether there was one."""
        try:
            async with asyncio.timeout(self._timeout_s):
                event = await self._event()
        except h11.RemoteProtocolError as error:
            await self.refuse(HTTPStatus(error.error_status_hint))
            return False
        except TimeoutError:
            if self._http.trailing_data[0]:  # half a request
                await self.refuse(HTTPStatus.REQUEST_TIMEOUT)
            raise
        if not isinstance(event, h11.Request):
            return False
        try:
            # Do not wait for a body: no page needs one.
            ends = not isinstance(self._http.next_event(), h11.EndOfMessage)
        except h11.RemoteProtocolError:
            ends = True
        method, target = event.method.decode("ascii"), event.target.decode("ascii")
        answer = self._answer(event, method, target)
        self._tell(f"{method} {printable(target, _TEXT_LENGTH)}", answer.status)
        await self._send(answer, method, ends=ends or answer.status in _LAST)
        return True

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            try:
                self._http.receive_data(await self._stream.read_some())
            except EOFError:
                return None
        return event

    def _answer(self, request: h11.Request, method: str, target: str) -> _Answer:
        if not request.http_version.startswith(b"1."):
            return _refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        hosts = [value.decode("latin-1") for name, value in request.headers if name == b"host"]
        url = _URL.fullmatch(target)
        if url is not None:  # the URL takes precedence over the Host field
            hosts, target = [url[1]], url[2]
        if not all(map(_HOST.fullmatch, hosts)):
            return _refusal(HTTPStatus.BAD_REQUEST)
        if method not in _ALLOWED:
            known = method in _KNOWN
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_IMPLEMENTED
            return _Answer(status, "only GET and HEAD are answered here\n", allow=known)
        path = target.partition("?")[0]
        if path and not path.startswith("/"):
            return _refusal(HTTPStatus.BAD_REQUEST)
        if (path or "/") not in _PATHS:
            return _Answer(HTTPStatus.NOT_FOUND, "there is nothing here; try /\n")
        return _Answer(HTTPStatus.OK, self._page())

    async def _send(self, answer: _Answer, method: str | None, *, ends: bool) -> None:
        body = answer.page.encode()
        fields = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            *([("Allow", ", ".join(_ALLOWED))] if answer.allow else []),
            *([("Connection", "close")] if ends else []),
        ]
        status = answer.status
        head = h11.Response(status_code=status, reason=status.phrase, headers=fields)
        data = self._http.send(head)
        if method != "HEAD":
            data += self._http.send(h11.Data(data=body))
        await self._stream.write(data + self._http.send(h11.EndOfMessage()))


def _refusal(status: HTTPStatus) -> _Answer:
    return _Answer(status, f"{status.phrase.lower()}\n")
