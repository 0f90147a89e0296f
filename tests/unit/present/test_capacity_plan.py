"""What is said of a capacity plan, and the data that make each sentence true."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from harness.analyse import plan_capacity
from harness.domain.binding import Binding
from harness.domain.budget import SERVICE, Fleet, PgBouncer, Service
from harness.domain.capacity import CellCapacity, Found, MeasuredStep
from harness.domain.capacity_plan import CapacityPlan, Wanted
from harness.domain.evidence import RunInfo
from harness.domain.experiment import Network, Slo
from harness.present.capacity_plan import (
    assumptions,
    capacity_plan_dict,
    cell_rows,
    measured_facts,
    next_facts,
    plan_text,
    situation_rows,
)
from harness.present.html import render_plan
from harness.present.view import cores_of

STEP = MeasuredStep(
    launch_id="b1-c00",
    rate_rps=100.0,
    role="confirm",
    times=1,
    result="pass",
    p50_ms=21.0,
    p95_ms=42.0,
    p99_ms=63.0,
    error_rate=0.0,
    carried_rps=99.5,
    connections_peak=4,
    connections={"active": 1.5, "idle in transaction": 0.5, "idle": 2.0},
    cpu_share=0.31,
    pool_used_share=0.5,
    broken_promises=(),
)
STEPS = (
    replace(STEP, role="probe", rate_rps=25.0),
    STEP,
    replace(STEP, p95_ms=46.0, cpu_share=0.35, connections_peak=5),
    replace(STEP, rate_rps=110.0, result="fail", p95_ms=math.inf, p99_ms=math.inf, times=4),
)
BRACKET = Found(highest_pass_rps=100.0, lowest_fail_rps=110.0, stop="bracketed")
REPLICA = Service(replicas=1, workers=2, pool_size=4, max_overflow=1)


@pytest.fixture(scope="module")
def info(make_report) -> RunInfo:
    made: RunInfo = make_report(drivers=1, sizes=2, figures=False).info
    load = replace(made.cells[0].load, rate_rps=50.0, rate=None)
    return replace(made, experiment=replace(made.experiment, slo=Slo(p95_ms=100.0), load=load))


def cells(info: RunInfo, *found: Found | None, replica: Service | None = REPLICA) -> list[CellCapacity]:
    return [
        CellCapacity(cell=cell, steps=STEPS, found=own, replica=replica)
        for cell, own in zip(info.cells, found, strict=False)
    ]


def planned(info: RunInfo, peak_rps: float | None = 300.0, *, found: Found = BRACKET, **given: Any) -> CapacityPlan:
    """Of one cell whose replica carries 100/s with two workers of five connections each."""
    keys = {key: given[key] for key in given if key in Service.__dataclass_fields__ and key != "pgbouncer"}
    limits = {key: given[key] for key in ("max_connections", "pgbouncer") if key in given}
    service = Service(**({"replicas": 1} | keys), pgbouncer="pgbouncer" in given)
    wanted = Wanted(
        limits=Fleet(services={SERVICE: service}, **limits), named=frozenset(given), headroom=0.3, peak_rps=peak_rps
    )
    return plan_capacity(cells(info, found), wanted)


NAMED = "driver asyncpg, pool_size 2"


@pytest.mark.parametrize(
    ("peak_rps", "given", "text"),
    [
        pytest.param(
            300,
            {},
            f"Run 5 replicas of 2 workers with {NAMED} for a peak of 300/s. They carry 500/s within the SLO (p95 at "
            "most 100 ms): the peak takes 60 % of that, 75 % of what is left with a replica lost. It fits: in a "
            "rolling deploy 73 of max_connections = 100, 27 left.",
            id="it holds",
        ),
        pytest.param(
            900,
            {},
            f"A peak of 900/s takes 13 replicas of 2 workers with {NAMED}, too many for the connections there are. It "
            "does not fit: in a rolling deploy 173 of max_connections = 100, 73 too many, in steady running 33 too "
            "many. At most 7 replicas fit, for a peak of 490/s.",
            id="it does not fit",
        ),
        pytest.param(
            300,
            {"replicas": 4},
            f"4 replicas of 2 workers with {NAMED} are not enough for a peak of 300/s with 30 % of the capacity free "
            "and one replica to lose: that takes 5 replicas. It fits: in a rolling deploy 53 of max_connections = 100, "
            "47 left.",
            id="too few were given",
        ),
        pytest.param(
            None,
            {},
            f"7 replicas of 2 workers with {NAMED} carry 700/s within the SLO (p95 at most 100 ms): a peak of 490/s "
            "with 30 % of that free and one replica to lose. It fits: in a rolling deploy 93 of max_connections = "
            "100, 7 left.",
            id="without a peak the most that fit",
        ),
        pytest.param(
            None,
            {"replicas": 1},
            f"1 replica of 2 workers with {NAMED} carries 100/s within the SLO (p95 at most 100 ms), and "
            "nothing when it is lost. It fits: in a rolling deploy 23 of max_connections = 100, 77 left.",
            id="a single one",
        ),
        pytest.param(
            50,
            {"max_connections": 12},
            f"A peak of 50.0/s takes 2 replicas of 2 workers with {NAMED}, too many for the connections there are. It "
            "does not fit: in a rolling deploy 33 of max_connections = 12, 21 too many, in steady running 11 too many. "
            "Not even one replica fits.",
            id="not even one fits",
        ),
    ],
)
def test_the_answer(info: RunInfo, peak_rps: float | None, given: dict[str, Any], text: str) -> None:
    assert plan_text(planned(info, peak_rps, **given), info.experiment) == text


@pytest.mark.parametrize(
    ("found", "replica", "why"),
    [
        (Found(highest_pass_rps=2000.0, lowest_fail_rps=None, stop="ceiling"), REPLICA, "its capacity is not known"),
        (Found(highest_pass_rps=None, lowest_fail_rps=0.5, stop="nothing_meets"), REPLICA, "does not meet"),
        (Found(highest_pass_rps=50.0, lowest_fail_rps=None, stop="instrument"), REPLICA, "what measures failed"),
        (None, REPLICA, "the search is not over"),
        (
            BRACKET,
            None,
            (
                ": how many connections a replica may open is not known, because its pools have no limit, or sizes of "
                "their own that differ: name pool.pool_size and pool.max_overflow in the experiment."
            ),
        ),
    ],
)
def test_without_a_capacity_no_number_is_given_but_why(
    info: RunInfo, found: Found | None, replica: Service | None, why: str
) -> None:
    wanted = planned(info).wanted
    plan = plan_capacity(cells(info, found, replica=replica), wanted)
    assert plan_text(plan, info.experiment) == (
        "No fleet is planned, since no cell has a capacity to plan with: what was found is below."
    )
    (row,) = cell_rows(plan, info.experiment)
    assert why in row.why
    assert {row.worker, row.replicas, row.connections, row.most} == {""}
    assert assumptions(plan, info) == ()
    assert capacity_plan_dict(plan, info.experiment)["fleets"] == []


def test_the_page_without_a_capacity_says_why(info: RunInfo) -> None:
    plan = plan_capacity(cells(info, BRACKET, replica=None), planned(info).wanted)
    page = render_plan(info, plan).decode()
    assert "name pool.pool_size and pool.max_overflow in the experiment." in page
    assert 'id="fleet"' not in page


def test_the_fleet_as_a_table(info: RunInfo) -> None:
    fleet = planned(info).best
    assert fleet is not None
    assert [
        (own.name, own.replicas, own.carries, own.used, own.connections, own.left) for own in situation_rows(fleet)
    ] == [
        ("in steady running", "5", "500", "60.0", "53", "47"),
        ("with a replica lost", "4", "400", "75.0", "43", "57"),
        ("in a rolling deploy", "5", "500", "60.0", "73", "27"),
    ]


def test_each_cell_is_a_row_with_its_workers_capacity(info: RunInfo) -> None:
    wanted = planned(info).wanted
    none = Found(highest_pass_rps=None, lowest_fail_rps=0.5, stop="nothing_meets")
    first, last = cell_rows(plan_capacity(cells(info, none, BRACKET), wanted), info.experiment)
    assert (first.label, first.best, last.best) == (info.cells[1].label, True, False)
    assert (first.worker, first.no_longer, first.replicas, first.connections, first.fits, first.most, first.why) == (
        "50.0",
        "55.0",
        "5",
        "73",
        "yes",
        "7, 490/s",
        "",
    )
    assert "does not meet" in last.why


def test_what_it_rests_on_and_how_far_that_reaches(info: RunInfo) -> None:
    facts = dict(measured_facts(planned(info), info))
    assert facts["One replica"] == "2 workers x 1 engine x (4 pool_size + 1 max_overflow) = 10 connections at most"
    assert facts["At that rate"] == (
        "p95 42.0 to 46.0 ms, its processes 31.0 to 35.0 % of a core each, 50.0 % of its pool out on average, "
        "5 connections at most"
    )
    assert facts["Reaches"] == (
        "4 launches of one replica at 25.0 to 110/s, of 40 s at most; a peak of 300/s is 3.00 times what was shown, "
        "and rests on the assumptions"
    )
    assert "rests on" not in dict(measured_facts(planned(info, 90), info))["Reaches"]
    unseen = [replace(own, cpu_share=math.nan, pool_used_share=math.nan) for own in STEPS]
    plan = planned(info)
    (cell,) = plan.cells
    blind = plan_capacity([replace(cell, steps=tuple(unseen))], plan.wanted)
    assert dict(measured_facts(blind, info))["At that rate"] == "p95 42.0 to 46.0 ms, 5 connections at most"


def test_what_binds_next(info: RunInfo) -> None:
    """Postgres used a tenth of two cores at 100/s: 0.2 of a core, three times that at the peak."""
    assert cores_of(info.environment) == 2
    plan = planned(info)
    (cell,) = plan.cells
    seen = replace(cell, limit=Binding(resource="pool", share=0.8, used={"pool": 0.97}), used={"postgres_cpu": 0.1})
    assert next_facts(plan_capacity([seen], plan.wanted), info) == (
        (
            "In a replica",
            (
                "at 110/s it is the pool (97 % in use): slow requests spend 80 % of their time waiting for it. More "
                "connections, or shorter holds, move it."
            ),
        ),
        (
            "Connections",
            "max_connections = 100, of what pools may open: at most 7 replicas fit, for a peak of 490/s.",
        ),
        (
            "Postgres's CPU",
            (
                "0.200 of 2 cores here at 100/s; in proportion a peak of 300/s takes 0.600 of such cores, which no "
                "launch has shown"
            ),
        ),
    )
    ((name, text),) = next_facts(planned(info, pgbouncer=PgBouncer(max_client_conn=300)), info)
    assert (name, text.partition(":")[0]) == (
        "Connections",
        "max_connections = 100 or 300 clients of PgBouncer, of what pools may open",
    )
    assert "What binds next" in render_plan(info, plan).decode()


def test_what_it_assumes_and_what_would_break_that(info: RunInfo) -> None:
    """Of one replica that Postgres, generator and samplers shared a machine with."""
    assert assumptions(planned(info), info) == (
        (
            "Each replica carries what the measured one did.",
            (
                "Other cores or CPU limits than this machine's: measure on the machine it will run on. Here "
                "Postgres, the load generator and the samplers took part of the cores, so a replica that has them to "
                "itself may carry more."
            ),
        ),
        (
            "Replicas add up: 5 carry 5 times as much as one.",
            (
                "They share one Postgres, which one replica had to itself. Its CPU, disk and locks get 5 times the "
                "load, and where several change the same rows they wait for each other."
            ),
        ),
        (
            "The load is spread evenly over the replicas.",
            "Sticky sessions, few long-lived connections, or a balancer that does not see who is busy.",
        ),
        (
            "The peak is load of the kind that was measured: scenario mixed, poisson gaps, timeout 10 s.",
            "Another mix of requests, bursts within a second, clients that send again what failed.",
        ),
        (
            (
                "Postgres is as it was: Postgres 18.6; 10\u202f000 rows; tcp, scram-sha-256, no TLS; provider "
                "embedded; with no network between."
            ),
            (
                "More rows than its memory holds. Each round trip to a Postgres further away holds a connection for "
                "that much longer: measure with network.rtt_ms."
            ),
        ),
        (
            "One replica is lost at a time, and not during a deploy.",
            "A node or a zone with several of them: leave as many as can be lost at once, by a larger --headroom.",
        ),
        (
            (
                "Postgres takes 100 connections (its default, as no other was given): 3 are reserved, 0 go to jobs, "
                "and nothing else uses it."
            ),
            (
                "Other services, migrations, monitoring and people: give what they hold as --jobs, or weigh all "
                "services together with poolbench budget --services."
            ),
        ),
        (
            "It stays as it was in launches of 10 s of a service just started.",
            "What grows over hours: leaks, tables that swell; autovacuum, checkpoints.",
        ),
    )


def test_what_it_assumes_depends_on_what_is_given(info: RunInfo) -> None:
    more = dict(assumptions(planned(info, workers=4, max_connections=400, jobs=2), info))
    assert more["Workers add up: a replica of 2 workers was measured, 4 are planned."] == (
        "Fewer cores than workers, or a kernel that hands connections out unevenly: measure with target.workers = 4."
    )
    assert any("Postgres takes 400 connections (as given): 3 are reserved, 2 go to jobs" in own for own in more)
    plan = planned(info)
    (cell,) = plan.cells
    away = replace(cell, cell=replace(cell.cell, network=Network(rtt_ms=2.5)))
    told = dict(assumptions(plan_capacity([away], plan.wanted), info))
    assert any(own.endswith("provider embedded; 2.50 ms away.") for own in told)


def test_the_page_begins_with_the_answer_and_needs_nothing_from_elsewhere(info: RunInfo) -> None:
    plan = planned(info)
    page = render_plan(info, plan).decode()
    answer = plan_text(plan, info.experiment)
    assert f'<p class="verdict">{answer}</p>' in page
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!#)|url\((?!#)|@import', page) == []
    assert "of PgBouncer</th>" not in page
    assert "the peak of 300/s takes" in page
    assert "service, deploying" in page, "the sums of poolbench budget"
    through = render_plan(info, planned(info, None, pgbouncer=PgBouncer(max_client_conn=300))).decode()
    assert "of PgBouncer</th>" in through
    assert "the peak of" not in through


def test_the_same_for_a_program(info: RunInfo) -> None:
    told = capacity_plan_dict(planned(info), info.experiment)
    assert (told["holds"], told["peak_rps"], told["headroom"]) == (True, 300.0, 0.3)
    (fleet,) = told["fleets"]
    assert (fleet["replicas"], fleet["needed"], fleet["most"], fleet["worker_rps"]) == (5, 5, 7, 50.0)
    assert [own["connections"] for own in fleet["situations"]] == [53, 43, 73]
    assert fleet["budget"]["postgres"]["rolling"] == 73
