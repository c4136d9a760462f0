"""Middleware around all requests: host names, origins, body limits, response headers, faults in JSON.

Pure ASGI, so that neither uploads nor responses are held in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streetlab.app.settings import Settings

log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
UPLOAD_PATH = "/api/predict"
_OTHER_BODIES = 64 * 1024
"""The most bytes of any other body; looks and lists of jobs are small."""
_SAFE = ("GET", "HEAD")
_BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS")
_SLOWEST = 1024
"""Bytes per second, on average, below which an upload is ended once `idle_seconds` have passed."""
_LINGER_SECONDS = 2.0
"""A refused body is read and discarded for this long: a client that is still sending would not see the refusal."""


class Names:
    """The host names that this server accepts.

    A page of another site can point a name of its own at this machine (DNS rebinding) and would then be of the same
    origin as ours, but its browser sends that name as `Host`. So only these are answered: `localhost` and the
    loopback addresses, the host that was given, and `hosts`; where the host is not this machine alone, any literal
    IP address as well, which no rebinding can fake. Ports are not compared: a tunnel may have another.
    """

    def __init__(self, host: str, hosts: Iterable[str] = ()) -> None:
        self._names = {"localhost", *(_bare(name) for name in (host, *hosts))}
        self.public = not is_loopback(host)

    def allows(self, authority: str) -> bool:
        """Check a `Host` header, or the host and port of an `Origin`."""
        name = _bare(authority)
        if name in self._names:
            return True
        address = _address(name)
        return address is not None and (self.public or address.is_loopback)


def is_loopback(host: str) -> bool:
    """True if only this machine reaches this host."""
    address = _address(_bare(host))
    return _bare(host) == "localhost" if address is None else address.is_loopback


def _bare(authority: str) -> str:
    """Remove port and brackets from `name:port` or `[address]:port`; lower case."""
    authority = authority.strip().lower()
    if authority.startswith("["):
        inside, closed, after = authority[1:].partition("]")
        return inside if closed and (not after or after[0] == ":") else authority
    name, colon, port = authority.rpartition(":")
    return (name if colon and ":" not in name and (port.isdecimal() or not port) else authority).rstrip(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


class Guard:
    """The outermost middleware: refuse requests of other sites, bound bodies, add headers to every response.

    An exception that no handler takes becomes a 500 in JSON; the log has the traceback.
    """

    def __init__(self, app: ASGIApp, settings: Settings, names: Names) -> None:
        self._app = app
        self._settings = settings
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets here; the server closes the connection
        body = _Body(receive, self._settings, scope)
        response = _Response(send, body)
        try:
            self._check(scope)
            body.check_headers()
            await self._app(scope, body.receive, response.send)
        except HTTPException as fault:
            await _fault(fault.status_code, fault.detail, fault.headers)(scope, receive, response.send)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if not response.started:
                await _fault(500, "the server failed; its log says more")(scope, receive, response.send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            raise HTTPException(400, f"{len(hosts)} Host headers, but a request has one")
        if not self._names.allows(hosts[0]):
            raise HTTPException(403, f"this server is not called {hosts[0][:100]!a}; hosts=[NAME] allows that name")
        if scope["method"] in _SAFE:
            return
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise HTTPException(403, "this request comes from a page of another site")
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, hosts[0]):
            raise HTTPException(403, f"this request comes from a page of another site, {origin[:100]!a}")

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        same = parts.netloc.lower() == host.strip().lower()
        return same and parts.scheme in ("http", "https") and self._names.allows(parts.netloc)


class _Response:
    """A response with our headers; the connection is closed if the request was not read to its end."""

    def __init__(self, send: Send, body: _Body) -> None:
        self._send = send
        self._body = body
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["Cache-Control"] = "no-store"
            if not await self._body.read_to_end():
                headers["Connection"] = "close"
        await self._send(message)


class _Body:
    """A request's body with limits on length and time.

    Violations are raised as HTTPException while reading, so that they become a JSON response wherever that happens.
    """

    def __init__(self, receive: Receive, settings: Settings, scope: Scope) -> None:
        self._receive = receive
        self._headers = Headers(scope=scope)
        self._method = scope["method"]
        self._limit = settings.upload_bytes if scope["path"] == UPLOAD_PATH else _OTHER_BODIES
        self._idle = settings.idle_seconds
        self._count = 0
        self._began = time.monotonic()
        self._all_here = False
        self._given_up = False

    def check_headers(self) -> None:
        """Refuse a body by its announced length, before a byte is read."""
        announced = self._headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdecimal()):
            raise HTTPException(400, "Content-Length is not a number")
        if self._method in _BODILESS and (announced.strip("0") or "transfer-encoding" in self._headers):
            raise HTTPException(400, f"{self._method} takes no body")
        if len(announced) > 18 or int(announced) > self._limit:
            raise self._too_long()

    async def receive(self) -> Message:
        """Receive the next message.

        Raises:
            HTTPException: 413 too much, 408 too slow.
        """
        if self._all_here:  # what follows is no body: the wait for the client to leave may last
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._idle)
        except TimeoutError:
            self._given_up = True
            raise HTTPException(408, f"nothing arrived for {self._idle:g} s") from None
        if message["type"] != "http.request":
            return message
        self._count += len(message.get("body", b""))
        self._all_here = not message.get("more_body", False)
        if self._count > self._limit:
            raise self._too_long()
        seconds = time.monotonic() - self._began
        if not self._all_here and seconds > self._idle and self._count < _SLOWEST * seconds:
            self._given_up = True
            raise HTTPException(408, f"slower than {_SLOWEST} bytes per second")
        return message

    async def read_to_end(self) -> bool:
        """Read and discard the remaining body for a moment, so that the client sees a refusal; true if it ended.

        A client that waits for leave to send (`Expect: 100-continue`) has not begun, so nothing is read.
        """
        if self._all_here or self._method in _BODILESS:
            return True
        if self._headers.get("content-length", "0") == "0" and "transfer-encoding" not in self._headers:
            return True
        if self._given_up or ("expect" in self._headers and self._count == 0):
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._all_here:
                    message = await self._receive()
                    self._all_here = message["type"] != "http.request" or not message.get("more_body", False)
        return self._all_here

    def _too_long(self) -> HTTPException:
        return HTTPException(413, f"the body is longer than {self._limit / 1024**2:.4g} MiB, the most allowed here")


def _fault(status: int, line: str, headers: object = None) -> JSONResponse:
    return JSONResponse({"error": line}, status, headers if isinstance(headers, dict) else None)
