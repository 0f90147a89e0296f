"""FastHttpUser's HTTP client with the same behaviour for less: shorter ways for what a load test does all the time.

geventhttpclient merges a request's headers three times, keeps the one connection of a user in a locked queue, asks the
system for a buffer's size at every send, and works through an empty cookie jar. Each shortcut here covers the usual
case and leaves everything else to geventhttpclient's own code; responses are read by its parser.

One behaviour differs on purpose: a request is sent once. geventhttpclient quietly sends an idempotent one again when
its connection was closed under it, up to three times in all.
"""

from __future__ import annotations

import functools
import socket
from http.cookiejar import CookieJar
from typing import Any

from geventhttpclient.client import (
    _FIELD_VALUE_RE,
    _REQUEST_TARGET_RE,
    _TOKEN_RE,
    HTTPClient,
    HTTPClientPool,
)
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError, HTTPSocketPoolResponse
from geventhttpclient.url import URL

ARRIVAL_HEADER = "x-poolbench-arrival"
CONNECTION_BROKEN = (ConnectionResetError, BrokenPipeError)
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
PEEK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
UNUSUAL_HEADERS = frozenset({"transfer-encoding", "expect"})
MAX_KNOWN = 4096
"""URLs and header lines that are remembered; further ones are worked out every time."""


def shorten(session: Any, timeout_s: float) -> None:
    """Give Locust's FastHttpSession the shorter ways. `timeout_s` is the deadline that every request has."""
    agent = session.client
    agent.request_type = _knowing_urls(agent.request_type)
    if type(session.cookiejar) is CookieJar:
        session.cookiejar.__class__ = _Cookies
    if getattr(session.user, "client_pool", None) is None:  # one that users share is theirs to size
        arguments = dict(agent.clientpool.client_args)
        if (arguments.get("network_timeout") or 0.0) >= timeout_s:
            arguments["network_timeout"] = None  # the deadline comes first: no timer for each wait on the socket
        agent.clientpool = ClientPool(**arguments)


class _Url(URL):
    """A URL whose parts are worked out once."""

    __slots__ = ("_text", "host", "netloc", "port", "quoted_uri", "request_uri", "scheme")

    def __init__(self, url: Any = "", params: Any = None) -> None:
        super().__init__(url, params)
        plain = URL(url, params)
        self._text = url if isinstance(url, str) and params is None else str(plain)
        for part in _Url.__slots__[1:]:
            setattr(self, part, getattr(plain, part))

    def __str__(self) -> str:
        return self._text


@functools.lru_cache(MAX_KNOWN)
def _parse(url: str) -> _Url:
    return _Url(url)


class _KnownUrls:
    def set_url(self, url: Any, params: Any = None) -> None:
        parent: Any = super()
        parent.set_url(_parse(url) if params is None and isinstance(url, str) else url, params)


@functools.cache
def _knowing_urls(request_type: type) -> type:
    """The class of requests, parsing each URL once."""
    return type(request_type.__name__, (_KnownUrls, request_type), {})


class _Cookies(CookieJar):
    """A jar that does nothing while there is nothing in it and nothing to put into it."""

    def add_cookie_header(self, request: Any) -> None:
        if self._cookies:  # type: ignore[attr-defined]  # what the jar itself walks through
            super().add_cookie_header(request)

    def extract_cookies(self, response: Any, request: Any) -> None:
        if "set-cookie" in response.headers or "set-cookie2" in response.headers:
            super().extract_cookies(response, request)


class ClientPool(HTTPClientPool):
    """A user's clients, one for each host and port."""

    def get_client(self, url: Any) -> HTTPClient:
        client = self.clients.get((url.host, url.port)) if isinstance(url, URL) else None
        if client is None:
            client = super().get_client(url)
            connections: Any = client._connection_pool
            connections.size = -1  # read only for the number of attempts: size + 1 more than the first
            connections._resolve = functools.partial(_resolve_once, connections)
            if not client.ssl and not client.use_proxy:
                client.__class__ = _Client
                connections.__class__ = _Connections
                connections.idle = []
        return client


class _Connections(ConnectionPool):
    """Idle connections in a list: a user is one greenlet, and one that opens more wants more connections."""

    idle: list[Any]

    def get_socket(self) -> Any:
        if self._closed:
            raise RuntimeError("connection pool closed")
        while self.idle:
            connection = self.idle.pop()
            if _is_alive(connection):
                return connection
            connection.close()
        return self._create_socket()

    def return_socket(self, connection: Any) -> None:
        if self._closed:
            connection.close()
        else:
            self.idle.append(connection)

    def release_socket(self, connection: Any) -> None:
        connection.close()

    def close(self) -> None:
        self._closed = True
        while self.idle:
            self.idle.pop().close()


class _Client(HTTPClient):
    """Sends a request whose body is in memory; every other kind goes geventhttpclient's way."""

    def request(self, method: str, request_uri: str, body: Any = b"", headers: Any = None) -> HTTPSocketPoolResponse:
        usual = isinstance(headers, self.headers_type) and UNUSUAL_HEADERS.isdisjoint(headers)
        if isinstance(body, str):
            body = body.encode("utf-8")
        if not usual or not (body is None or isinstance(body, bytes)):
            return super().request(method, request_uri, body, headers)
        method = method.upper()
        head = self._head(method, request_uri, body or b"", headers)
        connections: Any = self._connection_pool
        connection = connections.get_socket()
        try:
            _send(connection, head.encode("latin-1") + body if body else head.encode("latin-1"))
        except CONNECTION_BROKEN as error:
            response = self._early_response(connection, method, error)
        except BaseException:
            connections.release_socket(connection)
            raise
        else:
            response = self._response(connection, method)
        response._sent_request = head
        return response

    def _response(self, connection: Any, method: str) -> HTTPSocketPoolResponse:
        return HTTPSocketPoolResponse(
            connection,
            self._connection_pool,
            block_size=self.block_size,
            method=method,
            headers_type=self.headers_type,
        )

    def _early_response(self, connection: Any, method: str, error: OSError) -> HTTPSocketPoolResponse:
        """What the server may have answered before it closed the connection that was still being written to."""
        try:
            return self._response(connection, method)
        except (OSError, HTTPParseError, HTTPConnectionClosed):
            raise error from None

    def _head(self, method: str, request_uri: str, body: bytes, headers: Any) -> str:
        usual = request_uri[:1] == "/" and request_uri[:2] != "//" and _REQUEST_TARGET_RE.fullmatch(request_uri)
        if not usual or not _TOKEN_RE.fullmatch(method):
            request: str = self._build_request(method, request_uri, body=body, headers=headers, chunked=False)
            return request
        lines = [f"{method} {request_uri} {self.version}\r\n"]
        lines += [line for name, line in self._defaults if not dict.__contains__(headers, name)]
        for stored in dict.values(headers):
            for field, value in (stored,) if isinstance(stored, tuple) else stored:
                lines.append(f"{field}: {value}\r\n" if field == ARRIVAL_HEADER else _header_line(field, value))
        if not dict.__contains__(headers, "content-length") and (body or method in BODY_METHODS):
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("\r\n")
        return "".join(lines)

    @functools.cached_property
    def _defaults(self) -> list[tuple[str, str]]:
        """The lines that every request has unless it says otherwise, by lower-case name."""
        fields = dict(self.default_headers.items())
        if "host" not in self.default_headers:
            host = f"[{self.host}]" if ":" in self.host and self.host[0] != "[" else self.host
            fields["Host"] = host if self.port in (80, 443) else f"{host}:{self.port}"
        return [(field.lower(), _header_line(field, value)) for field, value in fields.items()]


@functools.lru_cache(MAX_KNOWN)
def _header_line(field: str, value: Any) -> str:
    """One line of a request's head. Raises ValueError when it would not be one."""
    if not isinstance(field, str) or not _TOKEN_RE.fullmatch(field):
        raise ValueError(f"invalid header field name {field!r}")
    if isinstance(value, str) and not _FIELD_VALUE_RE.fullmatch(value):
        raise ValueError(f"invalid value for header field {field!r}: {value!r}")
    return f"{field}: {value}\r\n"


def _send(connection: Any, data: bytes) -> None:
    """All of it; nearly always one call, without sendall's question for the size of the buffer."""
    sent = connection.send(data)
    if sent < len(data):
        connection.sendall(memoryview(data)[sent:])


def _is_alive(connection: Any) -> bool:
    """Whether an idle connection is open and has nothing to say; what it has to say then is a FIN or garbage.

    `select`, which geventhttpclient asks, fails above file descriptor 1023.
    """
    try:
        connection._sock.recv(1, PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


_addresses: dict[tuple[str, int], Any] = {}


def _resolve_once(connections: Any) -> Any:
    """Look an address up once a process instead of once a connection.

    gevent asks in threads, and each of those holds the event loop up for as long as it wants the interpreter.
    """
    key = (connections._connection_host, connections._connection_port)
    if key not in _addresses:
        _addresses[key] = type(connections)._resolve(connections)
    return _addresses[key]
