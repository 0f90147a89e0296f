"""What was run, in words: what differs between cells is not told of all, what a service has not is told of none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.domain.cell import Cell
from harness.domain.evidence import Version
from harness.domain.experiment import DatabaseSpec, Design, Limits, Load, Observe, ProbeUser, Target
from harness.domain.verdict import Report
from harness.present import as_dict, working_tree_text
from harness.present.view import facts, peak_text

MakeReport = Callable[..., Report]


@pytest.fixture
def told(make_report: MakeReport) -> Callable[..., dict[str, str]]:
    """The facts of two cells, each changed by its own dict; `experiment` and `coverage` likewise."""

    def tell(
        *changes: dict[str, Any], experiment: dict[str, Any] | None = None, coverage: dict[str, Any] | None = None
    ) -> dict[str, str]:
        report = make_report(drivers=1, sizes=len(changes) or 2)
        cells: tuple[Cell, ...] = report.info.cells
        if changes:
            cells = tuple(replace(cell, **change) for cell, change in zip(cells, changes, strict=True))
        info = replace(report.info, cells=cells, experiment=replace(report.info.experiment, **(experiment or {})))
        summary = replace(report.summary, coverage=replace(report.summary.coverage, **(coverage or {})))
        return dict(facts(replace(report, info=info, summary=summary)))

    return tell


Tell = Callable[..., dict[str, str]]
OWN, OTHER = Target(app="shop.main:app"), Target(url="http://shop:8000")


def test_the_reference_app_has_the_driver_that_is_asked_for(told: Tell) -> None:
    assert told({}, {"target": Target(driver="psycopg", workers=2)})["Service"] == (
        "target_app.main:create_app; driver asyncpg, psycopg; workers 1, 2"
    )


def test_an_app_of_ones_own_has_the_driver_that_it_was_seen_with(told: Tell) -> None:
    own = {"target": OWN}
    assert told(own, own)["Service"] == "shop.main:app; workers 1"
    assert told(own, own, coverage={"drivers": ("psycopg2",)})["Service"] == "shop.main:app; driver psycopg2; workers 1"


def test_a_service_that_runs_already_has_neither_driver_nor_rows(told: Tell) -> None:
    running = told({"target": OTHER}, {"target": Target(url="http://shop:9000")})
    assert running["Service"] == "already running at http://shop:8000, http://shop:9000"
    assert "Database" not in running


def test_what_a_command_of_ones_own_put_into_the_database_is_not_counted(told: Tell) -> None:
    assert "10\u202f000 rows" in told()["Database"]
    own = {"database": DatabaseSpec(prepare=("alembic", "upgrade", "head"))}
    said = told(own, own)["Database"]
    assert "filled by alembic upgrade head" in said
    assert "rows" not in said
    several = {"database": DatabaseSpec(prepare=(("alembic", "upgrade", "head"), ("seed",)))}
    assert "filled by alembic upgrade head, then seed" in told(several, several)["Database"]
    assert "; empty at first; " in told({"target": OWN}, {"target": OWN})["Database"]


def test_cells_on_different_servers_do_not_share_a_version(told: Tell) -> None:
    assert told()["Database"].startswith("Postgres 18.6; ")
    images = [
        {"database": DatabaseSpec(provider="container", image=f"postgres:{number}", settings={"jit": jit})}
        for number, jit in ((17, True), (18, False))
    ]
    said = told(*images)["Database"]
    assert said == "Postgres; 10\u202f000 rows; provider container; jit = True, False"


@pytest.mark.parametrize(
    ("loads", "said"),
    [
        (
            (Load(rate="60%", rate_rps=299.0), Load(rate="60%", rate_rps=299.0)),
            (
                "scenario mixed; open: 299 arrivals/s, poisson gaps (60% of the 498 arrivals/s that the pilot "
                "sustained in a staircase (asyncpg)); latency from the intended time, timeout 10 s"
            ),
        ),
        (
            (Load(rate_rps=50), Load(rate_rps=70, arrivals="uniform", request_timeout_s=3)),
            (
                "scenario mixed; open: 50.0, 70.0 arrivals/s, poisson, uniform gaps (given); latency from the intended "
                "time, timeout 10 s, 3 s"
            ),
        ),
        (
            (Load(rate_rps=50), Load(model="closed", users=8)),
            (
                "scenario mixed; open: 50.0 arrivals/s, poisson gaps (given); latency from the intended time, timeout "
                "10 s; scenario mixed; closed: 8 users that wait for each answer, latency from send, timeout 10 s"
            ),
        ),
    ],
)
def test_the_load_is_that_of_the_cells(told: Tell, loads: tuple[Load, Load], said: str) -> None:
    assert told(*({"load": load} for load in loads))["Load"] == said


def test_times_are_those_of_the_cells(told: Tell) -> None:
    said = told({"load": Load(measure_s=3, warmup_s=1)}, {"load": Load(measure_s=6, warmup_s=1)})["Time"]
    assert said.startswith("3 s, 6 s measured after 1 s of warm-up per launch, ")
    assert "of load planned; 2026" in said


def test_one_cell_takes_no_turns(told: Tell) -> None:
    assert told({})["Order"] == "one cell, one launch after the other; seed 1"


@pytest.mark.parametrize(
    ("load", "probe", "clear"),
    [
        (Load(rate_rps=9), True, "the service has nothing in progress"),
        (Load(rate_rps=9), False, "its requests are answered"),
        (Load(model="closed", users=2), True, "its users have their answers"),
    ],
)
def test_where_a_turn_ends(told: Tell, load: Load, probe: bool, clear: str) -> None:
    cell = {"load": load}
    design = {"design": Design(kind="interleaved"), "observe": Observe(probe=probe)}
    assert told(cell, cell, experiment=design)["Order"] == (
        "interleaved: the cells of a block run side by side and take turns of at least 1 s, in balanced order, so that "
        f"the machine's drift touches all alike; a turn ends where {clear}, so that all turns together are one run; "
        "seed 1"
    )


def test_one_at_a_time_says_why(told: Tell) -> None:
    url = {"target": OTHER}
    assert told(url, url)["Order"] == (
        "blocked (because target.url runs already and is not started afresh): one cell at a time, in balanced order "
        "over the blocks; seed 1"
    )


def test_no_connection_at_all_is_a_figure_and_nobody_looking_is_none(make_report: MakeReport) -> None:
    cell = make_report().summary.cells[0]
    assert peak_text(replace(cell, connections_peak=0, connections_active_mean=0.0)) == "0"
    assert peak_text(make_report(activity=False).summary.cells[0]) == "\u2013"


def test_which_code_was_measured(make_report: MakeReport) -> None:
    report = make_report(drivers=1, sizes=2)
    assert "Code" not in dict(facts(report))

    def code(*sides: tuple[str, str | None, Version]) -> str:
        cells = tuple(
            replace(own, cell=replace(own.cell, arm=arm, target=Target(ref=ref)), versions=(version,))
            for own, (arm, ref, version) in zip(report.summary.cells, sides, strict=True)
        )
        return dict(facts(replace(report, summary=replace(report.summary, cells=cells))))["Code"]

    one, other = Version(commit="1a2b3c4d5e" * 4), Version(commit="f" * 40, changes="ab")
    assert code(("", None, one), ("", None, one)) == "commit 1a2b3c4d5e"
    assert code(("base", "main", one), ("head", "main", one)) == "main, commit 1a2b3c4d5e"
    assert code(("base", "main", one), ("head", None, other)) == (
        "base: main, commit 1a2b3c4d5e; head: commit ffffffffff, with changes that are not committed"
    )
    assert code(("", "v1", one), ("", "v2", other)) == (
        "v1, commit 1a2b3c4d5e; v2, commit ffffffffff, with changes that are not committed"
    )


def test_what_is_no_commit_is_said_before_it_is_measured(make_report: MakeReport) -> None:
    cell = replace(make_report().info.cells[0], label="head", target=Target(app="shop:app", dir="/srv/shop"))
    changed = Version(commit="1a2b3c4d5e" * 4, changes="ab")
    assert working_tree_text(cell, changed) == (
        "head is the working tree of /srv/shop: commit 1a2b3c4d5e, with changes that are not committed."
    )
    here = replace(cell, target=Target(app="shop:app"))
    assert working_tree_text(here, changed).startswith("head is the working tree of the current folder: commit 1a2b")


def test_a_probe_user_is_said_with_what_is_promised_of_it(told: Tell) -> None:
    assert "Probe user" not in told()
    asked = ProbeUser(request="GET /ready", rate_rps=0.2, slo=Limits(p95_ms=1000))
    said = told(experiment={"probe_user": asked})
    assert said["Probe user"] == "GET /ready 0.2 times a second beside the load, in no other figure"
    assert said["Promise (SLO)"] == "p95 at most 25 ms; probe user GET /ready: p95 at most 1000 ms"


def test_a_probe_user_stands_apart_in_json(make_report: MakeReport) -> None:
    report = make_report(drivers=1, sizes=1)
    (own,) = report.summary.cells
    assert as_dict(report)["cells"][0]["probe_user"] is None
    asked = replace(own, probe_user=replace(own.all, endpoint="probe user GET /ready"), probe_user_worst_ms=80.0)
    shown = as_dict(replace(report, summary=replace(report.summary, cells=(asked,))))["cells"][0]["probe_user"]
    assert (shown["endpoint"], shown["worst_ms"], shown["requests"]) == (
        "probe user GET /ready",
        80.0,
        own.all.requests,
    )
