"""What an engine says of itself, whichever pool it has and however it came to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from harness.probe.applied import applied_of
from harness.probe.place import own_line
from harness.probe.process import ProcessProbe

ASKED: dict[str, Any] = {"pool_size": 3, "max_overflow": 2, "pool_pre_ping": True, "pool_use_lifo": True}


def test_the_settings_of_a_queue_are_its_own() -> None:
    engine = create_engine("postgresql+psycopg://x@localhost/x", **ASKED, pool_timeout=7, pool_recycle=60)
    assert applied_of(engine) == {
        "driver": "psycopg",
        "made_at": "",
        "is_async": False,
        "pool_class": "QueuePool",
        "pool_timeout_s": 7,
        "pool_recycle_s": 60,
        **ASKED,
    }


def test_defaults_are_told_as_they_are() -> None:
    engine = create_async_engine("postgresql+asyncpg://x@localhost/x").sync_engine
    assert applied_of(engine) == {
        "driver": "asyncpg",
        "made_at": "",
        "is_async": True,
        "pool_class": "AsyncAdaptedQueuePool",
        "pool_size": 5,
        "max_overflow": 10,
        "pool_timeout_s": 30.0,
        "pool_recycle_s": -1,
        "pool_pre_ping": False,
        "pool_use_lifo": False,
    }


def test_a_pool_without_a_queue_has_no_size() -> None:
    applied = applied_of(create_engine("postgresql+psycopg://x@localhost/x", poolclass=NullPool))
    assert (applied["pool_class"], applied["pool_size"], applied["max_overflow"]) == ("NullPool", None, None)


@pytest.mark.parametrize("measured", [True, False])
def test_a_process_tells_of_every_engine_by_the_pool_that_the_app_chose(tmp_path: Path, measured: bool) -> None:
    probe = ProcessProbe(tmp_path)
    engines = [create_engine("sqlite://", poolclass=QueuePool, pool_size=size) for size in (2, 9)]
    try:
        for engine in engines:
            probe.watch(engine)
        if not measured:
            probe.toggle(False)
        written = json.loads((tmp_path / f"applied-{os.getpid()}.json").read_text())["engines"]
    finally:
        probe.stop()
    assert [(own["pool_class"], own["pool_size"]) for own in written] == [("QueuePool", 2), ("QueuePool", 9)]


def test_where_an_engine_is_made_is_the_innermost_line_of_the_service_s_own(tmp_path: Path) -> None:
    """Neither SQLAlchemy's nor the standard library's, nor one of no file."""
    own = tmp_path / "db.py"
    own.write_text(
        "import contextlib\nstack = contextlib.ExitStack()\nstack.callback(exec, code, seen)\nstack.close()\n"
    )
    seen: dict[str, Any] = {"own_line": own_line}
    exec(compile(own.read_text(), own, "exec"), {"seen": seen, "code": "found = own_line()"})
    assert seen["found"] == f"{own}:4"
