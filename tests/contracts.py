"""What a sitting relies on at each of its seams, said once: fakes and real parts are held to the same tests.

A class is the contract of one seam. Whoever stands there inherits its tests and names itself by the fixtures they ask
for: fakes in tests/unit/sitting, real parts in tests/integration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness import deploy
from harness.domain.cell import Cell
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec, Load, Network, Pool, Session, Target
from harness.domain.load import Launch, LaunchLoad, LoadPlan, Segment, Turn
from harness.domain.tables import (
    ACTIVITY_COLUMNS,
    COUNT_COLUMNS,
    HOLD_COLUMNS,
    LOG_COLUMNS,
    PROBE_COLUMNS,
    PROCESS_COLUMNS,
    SERVER_COLUMNS,
    SITE_COLUMNS,
    UNRETURNED_COLUMNS,
)

Blocks = Callable[..., AbstractContextManager[Any]]


def launches(**sections: Any) -> tuple[Launch, Launch]:
    """Two launches of a sitting, whose cells differ in nothing."""
    given = {"pool": Pool(), "session": Session(), "target": Target(), "database": DatabaseSpec(), "load": Load()}
    cells = [Cell(id=name, label=name, factors=(), **(given | sections)) for name in ("c1", "c2")]
    one, two = (Launch(id=f"b1-{cell.id}", cell=cell, block=1) for cell in cells)
    return one, two


def load_plan(output_dir: Path, host: str, scenario: Path) -> LoadPlan:
    """Half a second of load on one launch."""
    segment = Segment(
        index=0,
        launch_id="b1-c1",
        phase="measure",
        start_s=0.0,
        duration_s=0.5,
        model="open",
        rate_rps=40.0,
        users=None,
        arrivals="poisson",
        seed=1,
    )
    load = LaunchLoad(
        launch_id="b1-c1", host=host, scenario=scenario, request_timeout_s=5.0, max_in_flight=100, connections=None
    )
    turn = Turn(launch_id="b1-c1", duration_s=0.5)
    return LoadPlan(launches=(load,), segments=(segment,), turns=(turn,), output_dir=output_dir)


def database_in(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


class ProviderContract:
    """A server is up within the block and says what it is."""

    def test_it_says_what_it_is(self, spec: DatabaseSpec, server: Server) -> None:
        assert server.provider == spec.provider
        assert server.owned is (spec.provider != "url")  # a server of ours ends with its block, and its templates too
        assert 1 <= server.reserved_connections < server.max_connections
        assert server.version
        assert database_in(server.app_url("x")) == "x"

    def test_the_password_is_not_in_its_text(self, server: Server) -> None:
        assert server.password
        assert server.password not in repr(server)


class PlaceContract:
    """Each launch finds a database of its own, whose name tells it apart wherever Postgres is watched."""

    def test_each_launch_has_a_database_of_its_own(self, place: Any) -> None:
        both = launches()
        with place.databases(both) as urls:
            assert list(urls) == [launch.id for launch in both]
            assert len({database_in(url) for url in urls.values()} - {""}) == 2
            place.checkpoint()


class BetweenContract:
    """What is put between targets and Postgres changes where a database is found, never which one it is."""

    def test_every_database_keeps_its_launch_and_its_name(self, between: Blocks, urls: Mapping[str, str]) -> None:
        both = launches(network=Network(rtt_ms=1.0), target=Target(pgbouncer=True))
        with between(both, urls) as found:
            there = found if isinstance(found, Mapping) else found.urls
            assert {each: database_in(url) for each, url in there.items()} == {
                each: database_in(url) for each, url in urls.items()
            }


class DistancesContract(BetweenContract):
    """Of every relay there is a process to be watched and a reading."""

    def test_whoever_has_a_process_has_readings(self, between: Blocks, urls: Mapping[str, str]) -> None:
        with between(launches(network=Network(rtt_ms=1.0)), urls) as far:
            assert all(pid > 0 for pid in far.pids.values())
            far.begin()
            assert set(far.readings()) == set(far.pids) <= set(urls)


class TargetsContract:
    """Addresses are known at once, so that the generator can be told; answers are waited for."""

    def test_addresses_are_known_before_there_is_an_answer(
        self, start_all: Blocks, starts: Sequence[deploy.TargetStart]
    ) -> None:
        with start_all(starts, probe=True) as starting:
            hosts = starting.hosts
            assert set(hosts) == {start.launch.id for start in starts}
            assert len(set(hosts.values())) == len(starts)
            running = starting.wait()
        assert [target.launch_id for target in running] == [start.launch.id for start in starts]
        assert {target.launch_id: target.host for target in running} == dict(hosts)
        assert [target.database for target in running] == [database_in(start.database_url or "") for start in starts]


class DriverContract:
    """A load plan is executed between `go` and what `wait` returns, and nothing of it outlives the block."""

    def test_a_plan_is_executed_to_its_end(self, start: Blocks, plan: LoadPlan) -> None:
        ticks_s: list[float] = []
        with start(plan) as generator:
            assert generator.pid > 0
            generator.targets_up()
            notes = generator.wait_ready()
            start_ns = generator.go()
            output = generator.wait(ticks_s.append)
        assert all(isinstance(note, str) for note in (*notes, *output.notes))
        assert (output.start_ns, output.output_dir) == (start_ns, plan.output_dir)
        assert [turn.launch_id for turn in output.ledger.turns] == [turn.launch_id for turn in plan.turns]
        assert all(count.offered == count.done + count.dropped + count.unfinished for count in output.ledger.tasks)
        assert ticks_s == sorted(ticks_s)
        assert ticks_s[0] >= 0.0
        assert self.is_gone(generator)

    def test_it_may_be_left_before_anything_was_sent(self, start: Blocks, plan: LoadPlan) -> None:
        with start(plan) as generator:
            pass
        assert self.is_gone(generator)

    def is_gone(self, generator: Any) -> bool:
        """Whether nothing of it is left."""
        raise NotImplementedError  # a process, or a fake: each knows by itself


class SamplerContract:
    """A reading is rows of one table, all columns but the time, which is the loop's; an earlier one stays as it was."""

    def test_a_reading_is_rows_of_one_table(self, sampler: Any, columns: Sequence[str]) -> None:
        assert sampler.name
        first = sampler.read()
        kept = [dict(row) for row in first]
        second = sampler.read()
        assert [dict(row) for row in first] == kept
        assert kept
        for row in (*first, *second):
            assert sorted(row) == sorted(columns)


class ObservationContract:
    """Samplers rest when told; their tables are complete after the targets have ended, and be they empty."""

    def test_tables_are_complete_after_the_block(self, observe: Blocks) -> None:
        with observe() as observation:
            observation.stop()
        observed = observation.finish()
        tables = {
            "activity": ACTIVITY_COLUMNS,
            "probe": PROBE_COLUMNS,
            "process": PROCESS_COLUMNS,
            "counts": COUNT_COLUMNS,
            "log": LOG_COLUMNS,
            "holds": HOLD_COLUMNS,
            "unreturned": UNRETURNED_COLUMNS,
            "sites": SITE_COLUMNS,
        }
        for name, columns in tables.items():
            assert list(getattr(observed, name).columns) == [*columns, "launch_id"]
        assert isinstance(observed.gaps, tuple)


class ServerLogContract:
    """The server is watched until after the targets; a table is there even without a server."""

    def test_its_table_is_complete_after_the_block(self, server_log: Blocks) -> None:
        with server_log(None, {}) as log:
            pass
        assert list(log.table().columns) == [*SERVER_COLUMNS, "launch_id"]
        assert isinstance(log.gaps, tuple)
