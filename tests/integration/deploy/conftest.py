"""Small apps that a target can be launched with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from uuid import uuid4

import pytest

from harness.deploy import TargetStart
from harness.domain.cell import Cell
from harness.domain.experiment import DatabaseSpec, Load, Pool, Session, Target
from harness.domain.load import Launch

ANSWERING = """
    import json, os, pathlib, time

    HERE = pathlib.Path(__file__).parent

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        body = json.dumps({"pid": os.getpid(), "environment": dict(os.environ)}).encode()
        await send({"type": "http.response.start", "status": STATUS, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""

MakeStart = Callable[..., TargetStart]


@pytest.fixture
def make_start(tmp_path: Path) -> MakeStart:
    """A launch of a one-file app: `head` runs at its import, and it answers everything with `status`."""

    def make(*, head: str = "", status: int = 200, database_url: str | None = None, **target: object) -> TargetStart:
        name = f"app_{uuid4().hex[:8]}"
        (tmp_path / f"{name}.py").write_text(f"STATUS = {status}\n{dedent(ANSWERING)}\n{dedent(head)}")
        options = {"start_timeout_s": 20.0, "app": f"{name}:app", "env": {"PYTHONPATH": str(tmp_path)}, **target}
        cell = Cell(
            id="c1",
            label=f"cell {name}",
            factors=(),
            pool=Pool(pool_size=3),
            session=Session(),
            target=Target(**options),  # type: ignore[arg-type]  # any field may be given
            database=DatabaseSpec(),
            load=Load(),
            named=("pool.pool_size",),
        )
        return TargetStart(
            launch=Launch(id=f"b1-{name}", cell=cell, block=1),
            database_url=database_url,
            probe_dir=tmp_path / name,
            log=tmp_path / f"{name}.log",
        )

    return make
