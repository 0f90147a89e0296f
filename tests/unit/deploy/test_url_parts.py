"""What a connection URL may look like, and when two spellings of a setting are one value."""

from __future__ import annotations

import pytest

from harness.deploy.url import parse_url, same_value
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


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (None, "needs a url"),
        ("", "needs a url"),
        ("postgresql://me:s3cret@/db?host=/run/postgresql", "one host to reach over TCP"),
        ("postgresql://me:s3cret@a:1,b:2/db", "one host to reach over TCP"),
        ("postgresql://me:s3cret@a:port/db", "cannot be read"),
        ("mysql://me:s3cret@a/db", "cannot be read"),
        ("postgresql://me:s3cret@a/db?sslmode=require", "cannot be passed on to every driver: sslmode"),
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
