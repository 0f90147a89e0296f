"""What a sitting relies on, of the parts that really start something. Providers are in deploy/test_providers.py."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
from contracts import (
    BetweenContract,
    Blocks,
    DistancesContract,
    DriverContract,
    ObservationContract,
    PlaceContract,
    SamplerContract,
    ServerLogContract,
    TargetsContract,
    database_in,
    launches,
    load_plan,
)

from harness import calibrate, deploy, drive, observe
from harness.deploy import TargetStart
from harness.domain.deployed import RunningTarget, Server
from harness.domain.experiment import DatabaseSpec, Target
from harness.domain.load import LoadPlan
from harness.domain.tables import ACTIVITY_COLUMNS, PROCESS_COLUMNS, SERVER_COLUMNS
from harness.observe.postgres import activity_sampler
from harness.observe.process import PostgresTreeSampler, ProcessSampler, Root
from harness.observe.server import ServerSampler
from harness.places import Place

APP = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})
"""


@pytest.fixture
def place(postgres_server: Server) -> Iterator[Place]:
    with deploy.template(postgres_server, DatabaseSpec(), [("true",)]) as template:
        nowhere = deploy.Checkouts(folders={})
        yield Place(server=postgres_server, prefix="poolbench_seam_", sides=nowhere, template_for=lambda _: template)


@pytest.fixture
def urls(place: Place) -> Iterator[Mapping[str, str]]:
    with place.databases(launches()) as found:
        yield found


@pytest.mark.postgres
class TestPlace(PlaceContract):
    pass


@pytest.mark.postgres
class TestDistances(DistancesContract):
    @pytest.fixture
    def between(self, postgres_server: Server) -> Blocks:
        return partial(deploy.distances, postgres_server)


@pytest.mark.postgres
@pytest.mark.skipif(
    not os.environ.get("CI") and shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="pgbouncer is not installed",
)
class TestBouncers(BetweenContract):
    @pytest.fixture
    def between(self) -> Blocks:
        return deploy.bouncers


class TestTargets(TargetsContract):
    @pytest.fixture
    def start_all(self) -> Blocks:
        return deploy.start_all

    @pytest.fixture
    def starts(self, tmp_path: Path) -> Sequence[TargetStart]:
        (tmp_path / "seam_app.py").write_text(APP, encoding="utf-8")
        target = Target(app="seam_app:app", env={"PYTHONPATH": str(tmp_path)})
        return [
            TargetStart(
                launch=launch,
                database_url=f"postgresql://localhost/poolbench_seam_{launch.id}",
                probe_dir=tmp_path / launch.id,
                log=tmp_path / f"{launch.id}.log",
            )
            for launch in launches(target=target)
        ]


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name in the standard library
        """Say nothing."""


class TestDriver(DriverContract):
    @pytest.fixture
    def start(self) -> Blocks:
        return drive.start

    @pytest.fixture
    def plan(self, tmp_path: Path) -> Iterator[LoadPlan]:
        with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as service:
            thread = Thread(target=service.serve_forever)
            thread.start()
            scenario = Path(calibrate.__file__).parent / "ping.py"
            yield load_plan(tmp_path / "out", f"http://127.0.0.1:{service.server_port}", scenario)
            service.shutdown()
            thread.join()

    def is_gone(self, generator: Any) -> bool:
        return not psutil.pid_exists(generator.pid)


@pytest.mark.postgres
class TestActivitySampler(SamplerContract):
    @pytest.fixture
    def sampler(self, postgres_server: Server, scratch_database: str) -> Iterator[Any]:
        with activity_sampler(postgres_server, {database_in(scratch_database): "b1-c1"}) as started:
            yield started

    @pytest.fixture
    def columns(self) -> Sequence[str]:
        return row_of(ACTIVITY_COLUMNS)


@pytest.mark.postgres
class TestServerSampler(SamplerContract):
    @pytest.fixture
    def sampler(self, postgres_server: Server, scratch_database: str) -> Iterator[Any]:
        with closing(ServerSampler(postgres_server, {database_in(scratch_database): "b1-c1"})) as started:
            yield started

    @pytest.fixture
    def columns(self) -> Sequence[str]:
        return row_of(SERVER_COLUMNS)


class TestProcessSampler(SamplerContract):
    @pytest.fixture
    def sampler(self) -> Iterator[Any]:
        with closing(ProcessSampler([Root(pid=os.getpid(), role="harness", launch_id="")])) as started:
            yield started

    @pytest.fixture
    def columns(self) -> Sequence[str]:
        return row_of(PROCESS_COLUMNS)


@pytest.mark.postgres
class TestPostgresTreeSampler(SamplerContract):
    @pytest.fixture
    def sampler(self, postgres_server: Server) -> PostgresTreeSampler:
        assert postgres_server.pid is not None
        return PostgresTreeSampler(postgres_server.pid)

    @pytest.fixture
    def columns(self) -> Sequence[str]:
        return row_of(PROCESS_COLUMNS)


@pytest.mark.postgres
class TestObservation(ObservationContract):
    @pytest.fixture
    def observe(self, postgres_server: Server, scratch_database: str) -> Blocks:
        target = RunningTarget(
            launch_id="b1-c1",
            host="http://127.0.0.1:1",
            database=database_in(scratch_database),
            pids=(os.getpid(),),
            probe_dir=None,
            log=None,
        )
        return partial(
            observe.observe, server=postgres_server, targets=[target], generator_pid=os.getpid(), interval_s=0.1
        )


class TestServerLog(ServerLogContract):
    @pytest.fixture
    def server_log(self) -> Blocks:
        return observe.server_log


def row_of(columns: Iterable[str]) -> Sequence[str]:
    """What a sampler says of a row of this table: the time is the loop's."""
    return [*(name for name in columns if name != "t_ns"), "launch_id"]
