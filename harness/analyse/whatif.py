"""Another pool, rate, distance or number of workers, computed from requests that were measured.

The requests of a launch are sent through the pool once more, as `pool_queue` has it: each is due when the schedule
has it, and holds its connection for as long as it did. What another setting changes of a hold are its parts:

- *database* is for how long Postgres was active for it;
- *distance* is its round trips times the way that was added: another way takes that much more or less;
- *loop* is the rest, what the service takes itself. It grows with the use u of its worker's CPU as a queue does, by
  u / (1 - u), and so may the database's, which may share the machine: by how much is fitted, from at least two loads.

A request's own hold is its time in the database, the share of its time in the application that all holds have
together, and what they have after their responses on average: the probe knows the sums of holds exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

import numpy as np

from harness.analyse.arrays import Bools, Floats, Times
from harness.analyse.estimate import over_launches, quantile_of
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.pool_queue import erlang_wait_s, waits_s
from harness.analyse.whatif_source import PoolTimes, Source, setting_of, sources_of
from harness.domain.evidence import Run
from harness.domain.load import arrival_offsets_s
from harness.domain.prediction import HoldPart, Prediction, Setting, WhyDeclined

P95 = 0.95
CPU_MOST = 0.7
"""of a worker: beyond it the wait for the CPU decides, and a hold that is 5 % off moves a wait by half of it"""
SAME_LOAD = 1.03
"""Rates that differ by less are one load; and as little beyond what was fitted is within it."""
FEW_HANDOVERS = 20
FEW_DIALS = 5
DIALLED_MOST = 0.005
"""share of the requests that may dial where nobody knows how long that takes: a p95 does not see them"""
MOST_REQUESTS = 100_000
"""of a segment that are sent again: a p95 of so many hardly scatters"""
NO_TIME_S = 1e-9
PARTS: tuple[HoldPart, ...] = ("database", "distance", "loop")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """What is known of a cell, and of those that differ from it only in what a Setting has."""

    setting: Setting
    """of the first launch; others are made from it with `dataclasses.replace`"""
    declined: WhyDeclined | None
    """why nothing can be predicted at all"""
    sources: tuple[Source, ...] = ()
    grows_ms: Mapping[str, float]
    """by how much each part, and "outside" of the hold, is longer for each more of u / (1 - u)"""
    cpu_anyway: float = 0.0
    """of a core, used by a worker without a request"""
    cpu_s: float = 0.0
    """of it, used for a request"""
    handover_s: float = 0.0
    """from a connection's return until a request that waits for it has it"""
    dial_s: float = math.nan
    """to open a connection under load; NaN where too few were"""

    @property
    def loads_rps(self) -> tuple[float, float]:
        """The least and the largest rate of a worker that was measured."""
        rates = [own.worker_rps for own in self.sources]
        return min(rates), max(rates)


def fit(run: Run, launches: Sequence[LaunchFigures]) -> Fitted:
    """Look at launches that count, of cells that differ only in what a Setting has; one of them at least.

    Their waits for a connection are not looked at: one that is not saturated stands for every size of its pool, and
    those of which nothing can be told are left out.
    """
    found = sources_of(run, launches)
    sources = [own for own in found if isinstance(own, Source) and own.spoilt is None]
    if sources:
        return fit_sources(sources)
    why = next(own.spoilt if isinstance(own, Source) else own for own in found)
    return Fitted(setting=setting_of(launches[0].trial), declined=why, grows_ms={})


def fit_sources(sources: Sequence[Source]) -> Fitted:
    """The same of launches that tell something; one at least."""
    rates, cpu = np.array([own.worker_rps for own in sources]), np.array([own.cpu for own in sources])
    if rates.max() <= SAME_LOAD * rates.min():
        grows_ms: Mapping[str, float] = {}
        cpu_anyway, cpu_s = 0.0, cpu.mean() / rates.mean()
    else:
        cpu_s, cpu_anyway = np.polyfit(rates, cpu, 1)
        times = {part: [own.hold_ms[part] for own in sources] for part in ("database", "loop")}
        times["outside"] = [own.outside_ms for own in sources]
        grows_ms = {part: max(0.0, _slope(cpu / (1 - cpu), own)) for part, own in times.items()}
    return Fitted(
        setting=sources[0].setting,
        declined=None,
        sources=tuple(sources),
        grows_ms=grows_ms,
        cpu_anyway=float(cpu_anyway),
        cpu_s=float(cpu_s),
        dial_s=_dial_s([own.pool for own in sources]),
        handover_s=_handover_s([own.pool for own in sources], fmean(own.loop_lag_s for own in sources)),
    )


def _dial_s(pools: Sequence[PoolTimes]) -> float:
    seen = sum(own.dials for own in pools)
    return sum(own.dials * own.dial_s for own in pools) / seen if seen >= FEW_DIALS else math.nan


def _handover_s(pools: Sequence[PoolTimes], lag_s: float) -> float:
    """What was seen; of too few that waited two rounds of the event loop, one to be woken up and one to go on."""
    seen = sum(own.handovers for own in pools)
    if seen < FEW_HANDOVERS:
        return 2 * lag_s
    return max(0.0, sum(own.handovers * (own.handover_s - own.ping_s) for own in pools) / seen)


def _slope(of: Floats, values: Sequence[float]) -> float:
    """Of the line through these points; 0 where all have the same place."""
    apart = of - of.mean()
    return float(apart @ np.array(values)) / (float(apart @ apart) or math.inf)


def predict(fitted: Fitted, setting: Setting) -> Prediction:
    """What a setting would come to: `predict(fitted, replace(fitted.setting, pool_size=7))`.

    A setting that cannot be told has `declined`, and no figures. Over launches as in reports: the geometric mean of
    their latencies' quantiles, the mean of all else. Takes a third of a microsecond for each request.
    """
    cpu = fitted.cpu_anyway + fitted.cpu_s * setting.rate_rps / setting.workers
    declined = fitted.declined or _declined(fitted, setting, cpu)
    if declined is not None:
        return Prediction(setting=setting, declined=declined)
    found = [_sent_again(fitted, own, setting, cpu) for own in most_alike(fitted, setting)]
    if math.isnan(fitted.dial_s) and max(own.dialled for own in found) > DIALLED_MOST:
        return Prediction(setting=setting, declined="dials", cpu=cpu)
    hold_ms = {part: fmean(own.hold_ms[part] for own in found) for part in PARTS}
    hold_s, takers_rps = sum(hold_ms.values()) / 1000, setting.rate_rps * fmean(own.takers for own in found)
    return Prediction(
        setting=setting,
        wait_ms_p95=fmean(own.wait_ms_p95 for own in found),
        latency_ms_p95=over_launches(own.latency_ms_p95 for own in found),
        failed=fmean(own.failed for own in found),
        in_use=takers_rps * hold_s,
        hold_ms=hold_ms,
        outside_ms=fmean(own.outside_ms for own in found),
        cpu=cpu,
        erlang_wait_ms_p95=1000 * erlang_wait_s(takers_rps / setting.workers, hold_s, setting.connections, P95),
    )


def _declined(fitted: Fitted, setting: Setting, cpu: float) -> WhyDeclined | None:
    worker_rps, (least_rps, most_rps) = setting.rate_rps / setting.workers, fitted.loads_rps
    is_one = most_rps <= SAME_LOAD * least_rps
    within = least_rps / SAME_LOAD <= worker_rps <= most_rps * SAME_LOAD
    threads = min((own.threads for own in fitted.sources if own.threads is not None), default=math.inf)
    found: dict[WhyDeclined, bool] = {
        "threads": setting.connections >= threads,
        "one_load": is_one and not within,
        "outside_loads": not within,
        "worker_cpu": not cpu <= CPU_MOST,
        "round_trips": any(
            own.setting.rtt_ms != setting.rtt_ms and math.isnan(own.round_trips) for own in fitted.sources
        ),
    }
    return next((why for why, is_so in found.items() if is_so), None)


def most_alike(fitted: Fitted, setting: Setting) -> list[Source]:
    """The launches of what was measured most like it, in rate first; of several sizes the largest, who waited least."""

    def unlike(own: Source) -> tuple[float, ...]:
        other = own.setting
        rates = round(abs(math.log(other.rate_rps / setting.rate_rps)), 2)
        return (
            rates,
            abs(other.workers - setting.workers),
            abs(other.rtt_ms - setting.rtt_ms),
            -other.connections,
        )

    nearest = min(map(unlike, fitted.sources))
    return [own for own in fitted.sources if unlike(own) == nearest]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What one launch comes to in another setting."""

    wait_ms_p95: float
    latency_ms_p95: float
    failed: float
    dialled: float
    """share of the requests for which a connection was opened"""
    takers: float
    """share of the requests that take a connection"""
    hold_ms: Mapping[HoldPart, float]
    outside_ms: float


def _sent_again(fitted: Fitted, own: Source, setting: Setting, cpu: float) -> _Outcome:
    """Send a launch's requests through the pools that the setting has."""
    grown = cpu / (1 - cpu) - own.cpu / (1 - own.cpu)
    more_ms = {part: fitted.grows_ms.get(part, 0.0) * grown for part in (*PARTS, "outside")}
    if setting.rtt_ms != own.setting.rtt_ms:
        more_ms["distance"] = (setting.rtt_ms - own.setting.rtt_ms) * own.round_trips
    held_more_s = sum(more_ms[part] for part in PARTS) / 1000
    due_s, hold_s, rest_s, worker, measured = _schedule(own, setting)
    takes_one = hold_s > 0
    hold_s = np.where(takes_one, np.maximum(hold_s + held_more_s, 1e-6), 0.0)
    rest_s = rest_s + np.where(takes_one, held_more_s, 0.0) + more_ms["outside"] / 1000
    wait_s = np.zeros(len(due_s))
    dial_s = NO_TIME_S if math.isnan(fitted.dial_s) else fitted.dial_s
    for number in range(setting.workers):
        there = np.flatnonzero(takes_one & (worker == number))
        wait_s[there] = waits_s(
            due_s[there].tolist(),
            hold_s[there].tolist(),
            setting.pool_size,
            setting.max_overflow,
            setting.pool_timeout_s,
            dial_s=dial_s,
            handover_s=fitted.handover_s,
            open_=setting.pool_size,  # a warm-up opened them
        )
    wait_s, latency_s = wait_s[measured], (wait_s + rest_s)[measured]
    latency_s[latency_s > own.patience_s] = math.inf
    return _Outcome(
        wait_ms_p95=1000 * quantile_of(wait_s[np.isfinite(wait_s)], P95),
        latency_ms_p95=1000 * quantile_of(latency_s, P95),
        failed=float(np.mean(np.isinf(latency_s))),
        dialled=float(np.mean(wait_s == dial_s)),
        takers=float(np.mean(takes_one[measured])),
        hold_ms={part: max(0.0, own.hold_ms[part] + more_ms[part]) for part in PARTS},
        outside_ms=own.outside_ms + more_ms["outside"],
    )


def _schedule(own: Source, setting: Setting) -> tuple[Floats, Floats, Floats, Times, Bools]:
    """When requests are due at the setting's rate, what each has of its own, and which are measured.

    A schedule draws its gaps from its seed and divides them by the rate, so this is what would be sent, of each segment
    the first MOST_REQUESTS. Beyond as many as were measured they begin again from the first; among another number of
    workers they are divided at random.
    """
    times, random = setting.rate_rps / own.setting.rate_rps, np.random.default_rng(0)
    columns: list[tuple[Floats, Floats, Floats, Times, Bools]] = []
    for stretch in own.stretches:
        segment = replace(stretch.segment, rate_rps=(stretch.segment.rate_rps or 0.0) * times)
        due_s = segment.start_s + np.fromiter(islice(arrival_offsets_s(segment), MOST_REQUESTS), np.float64)
        count = len(due_s)
        worker = np.resize(stretch.worker, count)
        if setting.workers != own.setting.workers:
            worker = random.integers(setting.workers, size=count)
        columns.append(
            (
                due_s,
                np.resize(stretch.hold_s, count),
                np.resize(stretch.rest_s, count),
                worker,
                np.full(count, segment.phase == "measure"),
            )
        )
    due_s, hold_s, rest_s, worker, measured = (np.concatenate(column) for column in zip(*columns, strict=True))
    return due_s, hold_s, rest_s, worker, measured
