"""What a connection URL may look like, and when two spellings of a setting are one value."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from sqlalchemy import make_url

from harness.deploy.relay import at_port
from harness.deploy.url import parse_url, same_value
from harness.domain.deployed import Login, Server
from harness.errors import UsageError


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s%40crET@db.example:5433/shop",
        "postgresql+asyncpg://me:s%40crET@db.example:5433/shop",
        "postgres://me:s%40crET@db.example:5433/shop",
    ],
)
def test_every_part_is_read(url: str) -> None:
    at = parse_url(url)
    assert (at.host, at.port, at.user, at.password) == ("db.example", 5433, "me", "s@crET")
    assert at.maintenance_database == "shop"


def test_missing_parts_have_the_usual_values() -> None:
    at = parse_url("postgresql://localhost")
    assert (at.port, at.user, at.password, at.maintenance_database) == (5432, "postgres", "", "postgres")


def server_at(url: str, app: Login | None = None) -> Server:
    return Server(
        **asdict(parse_url(url)),
        version="18",
        transport="tcp",
        provider="url",
        max_connections=100,
        reserved_connections=3,
        pid=None,
        owned=False,
        app=app,
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s%40crET@[::1]:5433/shop",
        "postgresql://me:s%40crET@db.example:5433/shop?sslmode=require",
        "postgresql://me:s%40crET@[fe80::1]:5433/shop?sslmode=verify-full",
    ],
)
def test_what_was_given_is_what_the_service_gets(url: str) -> None:
    """An address of IPv6 keeps its brackets, and a server that asks for TLS is asked with TLS."""
    assert server_at(url).url("shop") == server_at(url).app_url("shop") == url
    assert make_url(url).host == parse_url(url).host


def test_the_service_has_a_login_of_its_own_where_there_is_one() -> None:
    server = server_at("postgresql://me:pw@[::1]:5433/shop", Login(user="app", password="p@", superuser=False))
    assert server.place == "[::1]:5433"
    assert server.app_url("shop") == "postgresql://app:p%40@[::1]:5433/shop"
    assert "p@" not in repr(server)


def test_a_relay_takes_the_place_of_host_and_port_alone() -> None:
    url = "postgresql://me:pw@[::1]:5433/shop?sslmode=require"
    assert at_port(url, 7) == "postgresql://me:pw@127.0.0.1:7/shop?sslmode=require"


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (None, "needs a url"),
        ("", "needs a url"),
        ("postgresql://me:s3cret@/db?host=/run/postgresql", "one host to reach over TCP"),
        ("postgresql://me:s3cret@a:1,b:2/db", "one host to reach over TCP"),
        ("postgresql://me:s3cret@a:port/db", "cannot be read"),
        ("mysql://me:s3cret@a/db", "cannot be read"),
        ("postgresql://me:s3cret@a/db?sslrootcert=x", "cannot be passed on to every driver: sslrootcert"),
    ],
)
def test_a_wrong_url_is_named_without_showing_it(url: str | None, cause: str) -> None:
    with pytest.raises(UsageError, match=cause) as raised:
        parse_url(url)
    assert raised.value.next_step
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("wanted", "actual"),
    [
        ("1GB", "1024MB"),
        ("60s", "1min"),
        ("on", "true"),
        ("off", "off"),
        ("1.10", "1.1"),
        ("100", "100"),
        ("a b", "a b"),
    ],
)
def test_the_same_value(wanted: str, actual: str) -> None:
    assert same_value(wanted, actual)


@pytest.mark.parametrize(
    ("wanted", "actual"), [("1GB", "1023MB"), ("on", "off"), ("100", "200"), ("minimal", "replica"), ("1.2.3", "1.2")]
)
def test_another_value(wanted: str, actual: str) -> None:
    assert not same_value(wanted, actual)
