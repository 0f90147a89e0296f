"""A line of the time series: its columns; what is counted of pools; the public functions."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool, SingletonThreadPool, StaticPool

from harness.domain.tables import PROBE_COLUMNS
from harness.probe import asgi, watch
from harness.probe.process import ProcessProbe, process_probe
from harness.probe.request import TimedApp
from harness.probe.serve import is_factory


def test_a_line_has_exactly_the_columns_agreed_on() -> None:
    line = ProcessProbe(None).read()
    assert list(line) == list(PROBE_COLUMNS)
    for name, kind in PROBE_COLUMNS.items():
        assert isinstance(line[name], (float, int) if kind.startswith("float") else int), name


@pytest.mark.parametrize("poolclass", [QueuePool, StaticPool, SingletonThreadPool])
def test_other_pools_count_too(poolclass: Any) -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=poolclass)
    probe.watch(engine)
    for _ in range(2):
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
    line = probe.read()
    assert (line["connection_checkouts"], line["connection_connects"], line["connection_count_used"]) == (2, 1, 0)
    assert line["transaction_time_s"] > 0
    plain = type(engine.pool).__base__
    probe.stop()
    assert type(engine.pool) is plain
    engine.dispose()


def test_a_disposed_pool_is_measured_by_the_same_class() -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=QueuePool)
    probe.watch(engine)
    measuring = type(engine.pool)
    engine.dispose()
    assert type(engine.pool) is measuring
    probe.watch(engine)
    with engine.connect() as connection:
        connection.invalidate()
    assert probe.read()["connection_invalidations"] == 1
    probe.stop()


def test_an_engine_is_not_kept_alive_by_being_watched() -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=QueuePool)
    probe.watch(engine)
    assert probe.read()["connection_max"] == 15
    del engine
    gc.collect()
    assert probe.read()["connection_max"] == 0


def test_watch_takes_engines_only() -> None:
    with pytest.raises(TypeError, match="not str"):
        watch("sqlite://")  # type: ignore[arg-type]


def test_the_public_functions_share_the_processs_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    monkeypatch.delenv("POOLBENCH_PROBE_DIR", raising=False)
    process_probe.cache_clear()
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=3, max_overflow=0)
    try:
        watch(engine)
        watch(engine)
        assert process_probe().read()["connection_max"] == 3
        wrapped = asgi(app)
        assert isinstance(wrapped, TimedApp)
        assert wrapped.app is app
    finally:
        process_probe().stop()
        process_probe.cache_clear()
        engine.dispose()


class App:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


async def function_app(scope: Any, receive: Any, send: Any) -> None: ...


async def decorated_app(*args: Any, **kwargs: Any) -> None: ...


def factory() -> App:
    return App()


def factory_with_defaults(settings: object = None) -> App:
    return App()


def old_style_app(scope: Any) -> Any: ...


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (App(), False),
        (function_app, False),
        (decorated_app, False),
        (old_style_app, False),
        (factory, True),
        (factory_with_defaults, True),
        (App, True),
        (None, False),
    ],
)
def test_a_factory_is_told_from_an_app(target: Any, expected: bool) -> None:
    assert is_factory(target) is expected
