"""What stands in the place of a dialect's own methods does what they do."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from harness.probe.counters import Counters
from harness.probe.dialect import install, restore


class Driver:
    """A driver's connection that notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def commit(self) -> None:
        self.asked.append("commit")

    def rollback(self) -> None:
        self.asked.append("rollback")


class Proxied:
    """As the pool hands it to a dialect, detached from its pool."""

    _connection_record = None

    def __init__(self, driver: Driver) -> None:
        self.dbapi_connection = driver

    def commit(self) -> None:
        self.dbapi_connection.commit()

    def rollback(self) -> None:
        self.dbapi_connection.rollback()


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(
    ("skips", "in_autocommit", "asked"),
    [
        (False, False, ["commit", "rollback"]),
        (False, True, ["commit", "rollback"]),
        (True, False, ["commit", "rollback"]),
        (True, True, ["commit"]),
    ],
)
def test_the_driver_is_asked_to_end_a_transaction_as_without_the_probe(
    timed: bool, skips: bool, in_autocommit: bool, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = create_engine("postgresql+psycopg://", skip_autocommit_rollback=skips).dialect
    monkeypatch.setattr(dialect, "detect_autocommit_setting", lambda _connection: in_autocommit)
    if timed:
        install(dialect, Counters())
    driver = Driver()
    connection = Proxied(driver)
    dialect.do_begin(connection)  # type: ignore[arg-type]  # as much of a proxied connection as a dialect looks at
    dialect.do_commit(connection)  # type: ignore[arg-type]
    dialect.do_rollback(connection)  # type: ignore[arg-type]
    restore(dialect)
    assert driver.asked == asked


def test_a_driver_connection_passed_by_hand_is_ended_too() -> None:
    dialect = create_engine("postgresql+psycopg://").dialect
    install(dialect, Counters())
    driver = Driver()
    dialect.do_commit(driver)  # type: ignore[arg-type]  # what SQLAlchemy itself never does
    dialect.do_rollback(driver)  # type: ignore[arg-type]
    restore(dialect)
    assert driver.asked == ["commit", "rollback"]
