"""The shorter ways of the HTTP client say and do what geventhttpclient's own do."""

from __future__ import annotations

from http.cookiejar import CookieJar

import pytest
from geventhttpclient.client import HTTPClient
from geventhttpclient.header import Headers
from geventhttpclient.url import URL

from harness.generator.http import ARRIVAL_HEADER, _Client, _Cookies, _parse

REQUESTS = {
    "get": ("GET", "/items?id=1", b"", {"Accept": "*/*", ARRIVAL_HEADER: "0-17"}),
    "post": ("POST", "/items", b'{"a": 1}', {"content-type": "application/json"}),
    "post without a body": ("POST", "/items", b"", {}),
    "delete": ("DELETE", "/items/1", b"", {}),
    "own agent": ("GET", "/", b"", {"USER-AGENT": "me"}),
    "own host": ("GET", "/", b"", {"host": "other.example"}),
    "own length": ("PUT", "/x", b"abc", {"Content-Length": "3"}),
    "several values": ("GET", "/", b"", {"X-Many": ["a", "b"]}),
    "a path without a slash": ("GET", "items", b"", {}),
    "absolute": ("GET", "http://127.0.0.1:8000/items", b"", {}),
}


@pytest.mark.parametrize("port", [80, 8000])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_head_has_the_same_lines(name: str, port: int) -> None:
    method, uri, body, headers = REQUESTS[name]
    if name == "absolute" and port == 80:
        uri = uri.replace(":8000", ":80")
    fields = Headers(headers)
    plain, short = HTTPClient("127.0.0.1", port), _Client("127.0.0.1", port)
    expected = plain._build_request(method, uri, body=body, headers=fields).split("\r\n")
    head = short._head(method, uri, body, fields).split("\r\n")
    assert head[0] == expected[0]
    assert sorted(head) == sorted(expected)
    assert head[-2:] == ["", ""]


@pytest.mark.parametrize(
    "headers", [{"X-A": "b\r\nX-Evil: 1"}, {"X A": "b"}, {"X-A\n": "b"}], ids=["value", "name", "end of line"]
)
def test_a_line_that_is_none_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="invalid"):
        _Client("127.0.0.1", 80)._head("GET", "/", b"", Headers(headers))


@pytest.mark.parametrize("uri", ["/a b", "//elsewhere/x", "/a\r\nX: 1"])
def test_a_target_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="invalid request URI"):
        _Client("127.0.0.1", 80)._head("GET", uri, b"", Headers())


@pytest.mark.parametrize("text", ["http://h:1/a?b=c#d", "https://u:p@h/ä b", "http://[::1]:8000/x", "http://h"])
def test_a_known_url_has_the_same_parts(text: str) -> None:
    plain, known = URL(text), _parse(text)
    for part in ("scheme", "host", "port", "netloc", "request_uri", "quoted_uri", "path", "query"):
        assert getattr(known, part) == getattr(plain, part)
    assert known == plain
    assert str(known) == text
    assert str(known.redirect("/next?x=1")) == str(plain.redirect("/next?x=1"))


def test_a_jar_changes_its_ways_and_keeps_its_content() -> None:
    jar = CookieJar()
    jar.__class__ = _Cookies
    assert isinstance(jar, CookieJar)
    assert list(jar) == []
