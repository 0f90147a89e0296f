"""The plan that `poolbench capacity --report` makes: the answer, its tables, what it rests on, what could break it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.domain.capacity import CellCapacity
from harness.domain.capacity_plan import CapacityPlan, FleetPlan, SituationName
from harness.domain.evidence import RunInfo
from harness.domain.experiment import Experiment
from harness.present.binding_text import binding_text
from harness.present.budget import budget_dict, budget_verdict
from harness.present.capacity_text import capacity_text
from harness.present.numbers import UNKNOWN, count, duration, number, percent
from harness.present.phrases import percent_text, settings_text, slo_text
from harness.present.view import cores_of, database_text, load_terms, machine_text, quantity

_SITUATIONS: Mapping[SituationName, str] = {
    "steady": "in steady running",
    "lost": "with a replica lost",
    "rolling": "in a rolling deploy",
}


def plan_text(plan: CapacityPlan, experiment: Experiment) -> str:
    """The answer: which fleet to run, what it carries and what it may open; or why none is named."""
    fleet = plan.best
    if fleet is None:
        return "No fleet is planned, since no cell has a capacity to plan with: what was found is below."
    verdict, peak_rps = budget_verdict(fleet.budget), plan.wanted.peak_rps
    free = percent_text(plan.wanted.headroom)
    named, slo = fleet_text(fleet), slo_text(experiment)
    if not fleet.suffices and peak_rps is not None:
        return (
            f"{named} {_are(fleet)} not enough for a peak of {number(peak_rps)}/s with {free} of the capacity free and "
            f"one replica to lose: that takes {quantity(fleet.needed or 0, 'replica')}. {verdict}"
        )
    if not fleet.budget.fits:
        takes = "" if peak_rps is None else f"A peak of {number(peak_rps)}/s takes "
        return f"{takes}{named}, too many for the connections there are. {verdict} {_most_text(fleet)}"
    steady, lost, _ = fleet.situations
    carries = f"{number(steady.carries_rps)}/s within the SLO ({slo})"
    if steady.replicas == 1:
        return f"{named} carries {carries}, and nothing when it is lost. {verdict}"
    if peak_rps is None:
        return (
            f"{named} carry {carries}: a peak of {number(fleet.peak_at_most_rps(steady.replicas))}/s with {free} of "
            f"that free and one replica to lose. {verdict}"
        )
    return (
        f"Run {named} for a peak of {number(peak_rps)}/s. They carry {carries}: the peak takes "
        f"{_used(steady.used_share)} of that, {_used(lost.used_share)} of what is left with a replica lost. {verdict}"
    )


def fleet_text(fleet: FleetPlan) -> str:
    """ "5 replicas of 1 worker with pool_size 5"."""
    service = fleet.service
    return (
        f"{quantity(service.replicas, 'replica')} of {quantity(service.workers, 'worker')} with "
        f"{settings_text(fleet.capacity.cell)}"
    )


def _are(fleet: FleetPlan) -> str:
    return "is" if fleet.service.replicas == 1 else "are"


def _used(share: float | None) -> str:
    return UNKNOWN if share is None else percent_text(share)


def _most_text(fleet: FleetPlan) -> str:
    if not fleet.most:
        return "Not even one replica fits."
    return (
        f"At most {quantity(fleet.most, 'replica')} {'fits' if fleet.most == 1 else 'fit'}, for a peak of "
        f"{number(fleet.peak_at_most_rps(fleet.most))}/s."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SituationRow:
    """The fleet at some time, as a row of a table."""

    name: str
    replicas: str
    carries: str
    used: str
    connections: str
    left: str
    clients: str


def situation_rows(fleet: FleetPlan) -> list[SituationRow]:
    """What the fleet carries and may open in steady running, with a replica lost and while deploying."""
    limit = fleet.budget.server.limit
    return [
        SituationRow(
            name=_SITUATIONS[own.name],
            replicas=count(own.replicas),
            carries=number(own.carries_rps),
            used=UNKNOWN if own.used_share is None else percent(own.used_share),
            connections=count(own.connections),
            left=count(limit - own.connections),
            clients=count(own.clients),
        )
        for own in fleet.situations
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRow:
    """A cell's capacity and the fleet of it, as a row of a table."""

    label: str
    worker: str
    no_longer: str
    replicas: str
    connections: str
    fits: str
    most: str
    why: str
    """what was found instead where there is no fleet of it"""
    best: bool


def cell_rows(plan: CapacityPlan, experiment: Experiment) -> list[CellRow]:
    """Every cell, the one to run first, those without a fleet last."""
    planned = {fleet.capacity.cell.id for fleet in plan.fleets}
    return [
        *(_cell_row(fleet, best=fleet is plan.best) for fleet in plan.fleets),
        *(
            CellRow(
                label=cell.cell.label,
                worker="",
                no_longer="",
                replicas="",
                connections="",
                fits="",
                most="",
                why=no_fleet_text(cell, experiment),
                best=False,
            )
            for cell in plan.cells
            if cell.cell.id not in planned
        ),
    ]


def _cell_row(fleet: FleetPlan, *, best: bool) -> CellRow:
    found = fleet.capacity.found
    scale = fleet.replica_rps / found.highest_pass_rps if found and found.highest_pass_rps else math.nan
    no_longer = math.nan if found is None or found.lowest_fail_rps is None else found.lowest_fail_rps
    return CellRow(
        label=fleet.capacity.cell.label,
        worker=number(fleet.worker_rps),
        no_longer=number(no_longer * scale / fleet.service.workers),
        replicas=count(fleet.service.replicas),
        connections=count(fleet.budget.server.worst),
        fits="yes" if fleet.budget.fits else "no",
        most=f"{count(fleet.most)}, {number(fleet.peak_at_most_rps(fleet.most))}/s" if fleet.most else "none",
        why="" if fleet.suffices else f"the peak takes {count(fleet.needed)}",
        best=best,
    )


def no_fleet_text(cell: CellCapacity, experiment: Experiment) -> str:
    """Why no fleet of a cell is planned."""
    if cell.found is None or cell.found.stop != "bracketed" or cell.replica is not None:
        return capacity_text(cell, experiment)
    return (
        f"{cell.cell.label}: how many connections a replica may open is not known, because its pools have no limit, or "
        "sizes of their own that differ: name pool.pool_size and pool.max_overflow in the experiment."
    )


def measured_facts(plan: CapacityPlan, info: RunInfo) -> tuple[tuple[str, str], ...]:
    """What the plan rests on, and how far that reaches: name and value of each line."""
    fleet = plan.best
    facts = [("Measured", f"{info.created_utc[:10]}, {machine_text(info.environment)}")]
    if fleet is not None:
        facts += [
            ("One replica", _replica_text(fleet)),
            ("Carries", capacity_text(fleet.capacity, info.experiment)),
            ("At that rate", _at_capacity(fleet.capacity)),
            ("Reaches", _reach(fleet)),
        ]
    facts += [("Load", load_terms(info.cells)), ("Database", database_text(info))]
    return tuple((name, value) for name, value in facts if value)


def _replica_text(fleet: FleetPlan) -> str:
    service = fleet.measured
    return (
        f"{quantity(service.workers, 'worker')} x {quantity(service.engines, 'engine')} x "
        f"({service.pool_size} pool_size + {service.max_overflow} max_overflow) = "
        f"{quantity(service.connections(1), 'connection')} at most"
    )


def _at_capacity(cell: CellCapacity) -> str:
    """What the launches showed that confirmed the rate."""
    found = cell.found
    steps = [own for own in cell.steps if found and own.rate_rps == found.highest_pass_rps and own.role == "confirm"]
    if not steps:
        return ""
    parts = [
        f"p95 {_range([own.p95_ms for own in steps])} ms",
        f"its processes {_range([100 * own.cpu_share for own in steps])} % of a core each",
        f"{_range([100 * own.pool_used_share for own in steps])} % of its pool out on average",
        f"{quantity(max(own.connections_peak for own in steps), 'connection')} at most",
    ]
    return ", ".join(part for part in parts if UNKNOWN not in part.split())


def _range(values: Sequence[float]) -> str:
    """ "12.3 to 14.5", or one figure where they are written alike."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _reach(fleet: FleetPlan) -> str:
    steps = fleet.capacity.steps
    rates = [own.rate_rps for own in steps]
    if not rates:
        return ""
    told = (
        f"{quantity(len(steps), 'launch')} of one replica at {number(min(rates))} to {number(max(rates))}/s, of "
        f"{duration(max(own.times for own in steps) * fleet.capacity.cell.load.measure_s)} at most"
    )
    peak_rps = fleet.wanted.peak_rps or fleet.peak_at_most_rps(fleet.service.replicas)
    times = peak_rps / fleet.replica_rps
    if times > 1:
        told += (
            f"; a peak of {number(peak_rps)}/s is {number(times)} times what was shown, and rests on the assumptions"
        )
    return told


def next_facts(plan: CapacityPlan, info: RunInfo) -> tuple[tuple[str, str], ...]:
    """What binds when the load grows further: name and value of each line."""
    return () if plan.best is None else tuple(_next_facts(plan.best, info))


def _next_facts(fleet: FleetPlan, info: RunInfo) -> Iterator[tuple[str, str]]:
    cell, found, budget = fleet.capacity, fleet.capacity.found, fleet.budget
    if cell.limit is not None and found is not None:
        yield "In a replica", f"at {number(found.lowest_fail_rps)}/s it is {binding_text([cell.limit])}"
    clients = "" if budget.clients is None else f" or {count(budget.clients.limit)} clients of PgBouncer"
    limit = f"max_connections = {count(budget.server.limit)}{clients}"
    yield "Connections", f"{limit}, of what pools may open: {_lower_first(_most_text(fleet))}"
    share, cores = cell.used.get("postgres_cpu"), cores_of(info.environment)
    if share is not None and cores is not None and found is not None:
        peak_rps = fleet.wanted.peak_rps or fleet.peak_at_most_rps(fleet.service.replicas)
        used = share * cores
        yield (
            "Postgres's CPU",
            (
                f"{number(used)} of {quantity(cores, 'core')} here at {number(found.highest_pass_rps)}/s; in "
                f"proportion a peak of {number(peak_rps)}/s takes "
                f"{number(used * peak_rps / (found.highest_pass_rps or math.nan))} of such cores, which no launch has "
                "shown"
            ),
        )


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def assumptions(plan: CapacityPlan, info: RunInfo) -> tuple[tuple[str, str], ...]:
    """What the plan takes for granted, and what would break it."""
    return () if plan.best is None else tuple(_assumptions(plan.best, info))


def _assumptions(fleet: FleetPlan, info: RunInfo) -> Iterator[tuple[str, str]]:
    cell, service, limits = fleet.capacity.cell, fleet.service, fleet.wanted.limits
    breaks = (
        "Other cores or CPU limits than this machine's: measure on the machine it will run on. Here Postgres, the load "
        "generator and the samplers took part of the cores, so a replica that has them to itself may carry more."
    )
    yield "Each replica carries what the measured one did.", breaks
    breaks = (
        "They share one Postgres, which one replica had to itself. Its CPU, disk and locks get "
        f"{service.replicas} times the load, and where several change the same rows they wait for each other."
    )
    yield f"Replicas add up: {service.replicas} carry {service.replicas} times as much as one.", breaks
    if service.workers != fleet.measured.workers:
        breaks = (
            "Fewer cores than workers, or a kernel that hands connections out unevenly: measure with "
            f"target.workers = {service.workers}."
        )
        measured = quantity(fleet.measured.workers, "worker")
        yield f"Workers add up: a replica of {measured} was measured, {service.workers} are planned.", breaks
    breaks = "Sticky sessions, few long-lived connections, or a balancer that does not see who is busy."
    yield "The load is spread evenly over the replicas.", breaks
    breaks = "Another mix of requests, bursts within a second, clients that send again what failed."
    yield f"The peak is load of the kind that was measured: {load_terms(info.cells)}.", breaks
    away = f"{number(cell.network.rtt_ms)} ms away" if cell.network.rtt_ms else "with no network between"
    breaks = (
        "More rows than its memory holds. Each round trip to a Postgres further away holds a connection for that much "
        "longer: measure with network.rtt_ms."
    )
    yield f"Postgres is as it was: {database_text(info)}; {away}.", breaks
    breaks = "A node or a zone with several of them: leave as many as can be lost at once, by a larger --headroom."
    yield "One replica is lost at a time, and not during a deploy.", breaks
    given = "as given" if "max_connections" in fleet.wanted.named else "its default, as no other was given"
    breaks = (
        "Other services, migrations, monitoring and people: give what they hold as --jobs, or weigh all services "
        "together with poolbench budget --services."
    )
    taken = (
        f"Postgres takes {count(limits.max_connections)} connections ({given}): {count(limits.reserved)} are reserved, "
        f"{count(service.jobs)} go to jobs, and nothing else uses it."
    )
    yield taken, breaks
    breaks = "What grows over hours: leaks, tables that swell; autovacuum, checkpoints."
    yield f"It stays as it was in launches of {duration(cell.load.measure_s)} of a service just started.", breaks


def capacity_plan_dict(plan: CapacityPlan, experiment: Experiment) -> Mapping[str, Any]:
    """The same for a program."""
    return {
        "answer": plan_text(plan, experiment),
        "holds": plan.best is not None and plan.best.holds,
        "peak_rps": plan.wanted.peak_rps,
        "headroom": plan.wanted.headroom,
        "fleets": [
            {
                "cell": fleet.capacity.cell.label,
                "id": fleet.capacity.cell.id,
                "holds": fleet.holds,
                "worker_rps": fleet.worker_rps,
                "replica_rps": fleet.replica_rps,
                "replicas": fleet.service.replicas,
                "needed": fleet.needed,
                "most": fleet.most,
                "situations": [asdict(own) for own in fleet.situations],
                "budget": budget_dict(fleet.budget),
            }
            for fleet in plan.fleets
        ],
    }
