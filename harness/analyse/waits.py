"""What the slow requests of a launch waited for, and how full each resource was: the evidence of `binding`.

What moves a p95 is what those requests wait for that lie around it. So the *slow* ones are asked: ranks 90 to 98 in a
hundred of all that was measured, failures last, one vote each. What each of them took is cut into pieces:

- its lateness is the load generator's;
- of its pool time the parts queued and dialled, as the pool's counters divide the launch's pool time;
- of its database time the parts in which backends waited for a lock or a disk, or for a core: by Little's law the mean
  number of backends in a state is the time a second that requests spend in it, and backends that run or want to
  (active, no wait event) beyond the cores that Postgres used are waiting for one. What is left of its backends'
  activity is the query's work;
- of its time in the application the part without a thread, by Little's law on those that wait for one;
- the rest is the process's own, less a request's CPU time and the way there and back. It is a garbage collection's as
  far as a pause overlaps it; then the CPU's, but no more than a queue makes at that utilisation (on average r / (1 - r)
  times the CPU time; three times that at the 95th percentile), or than the event loop was late at that time, as far as
  computing explains it: two of its rounds count, of which one takes a request up and one runs it. Of that wait the
  share of the CPU time in which garbage is collected is a collection's, too. Where all cores are taken a process that
  uses little of one waits for it as well, but for tens of milliseconds, since schedulers are fair.
  A loop that was later than that is blocked by something that does not compute. What is left waited within the service
  for something that nobody sees, but for what the endpoint's quickest requests have too: that is their work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from harness.analyse.arrays import Bools, Codes, Floats, Times
from harness.analyse.measured import OUTCOME_PLACES, Requests
from harness.analyse.queueing import GAVE_UP_SHARE
from harness.analyse.resources import Neighbours, ProbeTimes, increase, most_open
from harness.analyse.windows import Windows
from harness.domain.columns import names_and_codes
from harness.domain.evidence import Trial

SLOW_FROM, SLOW_TO = 0.90, 0.98
MOST_LOOKED_AT = 2000
"""requests, evenly picked where there are more"""
TAIL = math.log(20)
"""how many times its mean the 95th percentile of an exponential wait is"""
ROUNDS = 2.0
TYPICAL_SHARE = 0.1
"""what the quickest tenth of an endpoint's requests takes without a cause is its work"""
FULL = 0.995
"""beyond this a utilisation is not told apart from 1"""
HALF = 0.5
"""of a core: a process that uses less is given it soon by a fair scheduler, however many others want it"""
SOON_MS = 50.0
CROWDED = 0.95
READING_NS = 100_000_000
"""between two lines of the probe, each of which tells of the time before it"""
NO_SLOTS = ("too many clients", "remaining connection slots", "too many connections", "toomanyconnections")
"""what Postgres says beyond max_connections, and what drivers make of it"""
_OK, _ERROR = OUTCOME_PLACES["ok"], OUTCOME_PLACES["error"]
_BACKENDS = {"": "running", "Lock": "locks", "IO": "postgres_io", "LWLock": "postgres_io", "Client": "idle"}
"""what an active backend does, by the type of its wait event; of any other: work that takes its time"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What one launch shows: shares by resource, those that were not seen left out."""

    slow: Mapping[str, float] = field(default_factory=dict)
    """of what slow requests took, how much they waited in each place; "unseen" and "failures" stand beside resources"""
    holding: Mapping[str, float] = field(default_factory=dict)
    """of the time for which connections were out, how much those who had them waited for something else"""
    in_thread: Mapping[str, float] = field(default_factory=dict)
    """of the time for which threads were out, likewise"""
    used: Mapping[str, float] = field(default_factory=dict)
    """of what there is, how much was in use"""
    own_cpu: float = 0.0
    """of the machine's cores, how much the run itself used: the service, Postgres and what measures them"""
    probed: bool = True
    """whether the pool was seen"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Average:
    """What an average request of the launch comes to, in ms; of things in a state by Little's law."""

    cpu_ms: float
    """CPU time of the service"""
    pool_ms: float
    queueing: float
    """share of the pool time"""
    dialling: float
    database_ms: float
    """as the service has it"""
    active_ms: float
    """for which a backend had something to do"""
    backends_ms: Mapping[str, float]
    """for which it waited meanwhile, by resource"""
    held_ms: float
    """for which a connection was out"""
    lent_ms: float
    """for which a thread was"""
    threadless: float
    """share of the application's time in which it waited for a thread"""
    distance_ms: float
    """of the way to Postgres and back that was added on purpose"""
    way_ms: float
    """there and back between client and service"""
    lag_ms: float
    """by which the event loop was late at worst, mean over the probe's lines"""
    cpu: str
    """what keeps a process waiting that wants to compute: "worker_cpu" or "machine_cpu" """
    cpu_wait_ms: float
    """for how long it does, as a queue at that utilisation makes it"""
    collecting: float
    """share of its CPU time in which it collects garbage"""
    computing_ms: float
    """for which it computes and waits for that at the 95th percentile: a loop may be as late"""
    soon_ms: float
    """after which it has a core at the latest that hardly computes"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was read beside a launch's requests."""

    activity: pd.DataFrame
    probe: pd.DataFrame
    beside: Neighbours | None
    """what the machine did; None where it did not tell"""
    spans: Windows
    """when the measurement was on"""
    times: ProbeTimes | None
    """what the probe's counters grew by meanwhile; None without it"""
    cores: Sequence[float]
    """that each process of the service used; none where they were not seen"""
    connections_out: float
    """on average; NaN without the probe"""

    @property
    def lines(self) -> pd.DataFrame:
        """Those of the probe within the measurement."""
        return self.probe[self.spans.contain(self.probe["t_ns"].to_numpy())]


def waits_of(
    trial: Trial,
    requests: Requests,
    table: pd.DataFrame,
    read: Readings,
    *,
    mean_ms: tuple[float, float, float] | None,
    way_ms: float,
    round_trips: float,
    logged: Mapping[str, int],
) -> Waits:
    """What a launch's slow requests waited for.

    Args:
        trial: the launch.
        requests: of warm-up and measurement.
        table: their rows.
        read: what was read beside them.
        mean_ms: pool, database and application time of those that the probe saw; None without any.
        way_ms: what a request to a service that does nothing takes typically.
        round_trips: to the database, of an average request; NaN where not known.
        logged: what the service wrote around its failures, how often each.
    """
    measured = np.flatnonzero(requests.measured)
    if not np.any(requests.came & requests.answered) or not read.spans.seconds:
        return Waits(slow={"failures": 1.0}, probed=False)
    served = measured[requests.outcome[measured] == _OK]
    used = _used(read)
    average = _average(trial, requests, read, used, mean_ms or (0, 0, 0), way_ms=way_ms, round_trips=round_trips)
    band = _band(requests.latency_ms, measured)
    failing = float(np.mean(requests.outcome[band] != _OK))
    slow = band[requests.outcome[band] == _OK]
    slow = _picked(slow if len(slow) else _band(requests.latency_ms, served))
    some = _picked(served)
    cut = _cut(requests, table["pid"].to_numpy(), np.concatenate([slow, some]), average, read.probe)
    pieces = {name: own[: len(slow)] for name, own in cut.items()}
    pieces["unseen"] -= _typical_ms(cut["unseen"][len(slow) :], requests.endpoint[some], requests.endpoint[slow])
    took_ms = requests.latency_ms[slow]
    shares = {name: float(np.mean(np.clip(own / took_ms, 0, 1))) if len(own) else 0.0 for name, own in pieces.items()}
    refused = _refused(trial, requests, table["status"].to_numpy(), read, logged)
    waited = 1 - failing * sum(refused.values())  # the other failures waited until somebody gave up
    return Waits(
        slow={
            name: waited * shares.get(name, 0.0) + failing * refused.get(name, 0.0)
            for name in dict.fromkeys([*shares, *refused])
        },
        holding=_holding(average),
        in_thread=_in_thread(average),
        used=used,
        own_cpu=_own_cpu(read),
        probed=mean_ms is not None,
    )


def _band(latency_ms: Floats, places: Times) -> Times:
    """The slow ones of these requests."""
    if not len(places):
        return places
    first = min(int(SLOW_FROM * len(places)), len(places) - 1)
    last = max(int(SLOW_TO * len(places)) - 1, first)
    return places[np.argpartition(latency_ms[places], (first, last))[first : last + 1]]


def _picked(places: Times) -> Times:
    return places[:: max(1, len(places) // MOST_LOOKED_AT)]


def _used(read: Readings) -> dict[str, float]:
    """How full each resource was; of several workers the busiest."""
    found = {"worker_cpu": max(read.cores, default=math.nan)}
    if read.beside is not None:
        found |= {"machine_cpu": read.beside.busy, "postgres_cpu": read.beside.by_role.get("postgres", math.nan)}
    most = most_open(read.probe)
    if most:
        found["pool"] = read.connections_out / most
    lines = read.lines
    borrowed, tokens = (lines[f"threadpool_tokens_{name}"].sum() for name in ("borrowed", "total"))
    if borrowed and tokens > 0:
        found["threads"] = borrowed / tokens
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _own_cpu(read: Readings) -> float:
    if read.beside is None:
        return 0.0
    return sum(read.beside.by_role.values()) + sum(read.cores) / read.beside.cores


def _average(
    trial: Trial,
    requests: Requests,
    read: Readings,
    used: Mapping[str, float],
    mean_ms: tuple[float, float, float],
    *,
    way_ms: float,
    round_trips: float,
) -> _Average:
    ended = int(np.count_nonzero(requests.came & requests.answered))
    seconds, lines, beside = read.spans.seconds, read.lines, read.beside

    def each_ms(total_s: float) -> float:
        return 1000 * total_s / ended if math.isfinite(total_s) else 0.0

    times = read.times
    pool_s = max(times.wait_s + times.dial_s + times.ping_s, 1e-9) if times else math.inf
    pool_ms, database_ms, app_ms = mean_ms
    lent = 0.0 if lines.empty else float(lines.groupby("pid", observed=True)["threadpool_tokens_borrowed"].mean().sum())
    threadless_ms = each_ms(times.threads_waiting * seconds) if times else 0.0
    backends = _backends(read.activity, read.spans)
    running = backends.pop("running", 0.0)
    if beside is not None and "postgres" in beside.by_role:
        backends["postgres_cpu"] = max(0.0, running - beside.by_role["postgres"] * beside.cores)
    worker, machine = _waits_of_one(used.get("worker_cpu", 0.0), 1), 0.0
    if beside is not None and used.get("worker_cpu", 0.0) >= HALF:
        machine = _waits_of_one(beside.busy, beside.cores)
    cpu_ms = each_ms(sum(read.cores) * seconds)
    distance_ms = 0.0
    if trial.relay is not None and math.isfinite(round_trips):
        distance_ms = trial.relay.rtt_ms_measured * round_trips
    return _Average(
        cpu_ms=cpu_ms,
        pool_ms=pool_ms,
        queueing=times.wait_s / pool_s if times else 0.0,
        dialling=times.dial_s / pool_s if times else 0.0,
        database_ms=database_ms,
        active_ms=each_ms(backends.pop("active", 0.0) * seconds),
        backends_ms={name: each_ms(number * seconds) for name, number in backends.items()},
        held_ms=each_ms(read.connections_out * seconds),
        lent_ms=each_ms(lent * seconds),
        threadless=min(1.0, threadless_ms / app_ms) if app_ms > 0 else 0.0,
        distance_ms=distance_ms,
        way_ms=way_ms,
        lag_ms=float(lines["loop_lag_max_ms"].mean()) if len(lines) else 0.0,
        cpu="machine_cpu" if machine > worker else "worker_cpu",
        cpu_wait_ms=cpu_ms * max(worker, machine),
        collecting=min(1.0, each_ms(times.gc_s) / cpu_ms) if times and cpu_ms else 0.0,
        computing_ms=TAIL * cpu_ms * (1 + max(worker, machine)),
        soon_ms=SOON_MS if beside is not None and beside.busy >= CROWDED else 0.0,
    )


def _waits_of_one(used: float, cores: float) -> float:
    """How many times its own length work waits on average for one of so many cores (Sakasegawa, 1977)."""
    used = min(used, FULL)
    return float(used ** (math.sqrt(2 * (cores + 1)) - 1) / (cores * (1 - used)))


def _backends(activity: pd.DataFrame, spans: Windows) -> dict[str, float]:
    """Mean number of backends at work ("active"), of these that run or want to ("running"), and that wait, by what."""
    if activity.empty:
        return {}
    inside = activity[spans.contain(activity["t_ns"].to_numpy(dtype=np.int64))]
    readings = inside["t_ns"].nunique()
    if not readings:
        return {}
    found: dict[str, float] = {}
    busy = inside[(inside["state"] == "active").to_numpy()]
    names, codes = names_and_codes(busy["wait_event_type"])
    number = np.bincount(codes, weights=busy["connections"].to_numpy(), minlength=len(names)) / readings
    for name, mean in zip(names, number.tolist(), strict=True):
        does = _BACKENDS.get(name, "")
        if does != "idle":
            found["active"] = found.get("active", 0.0) + mean
        if does not in ("", "idle"):
            found[does] = found.get(does, 0.0) + mean
    return found


def _cut(requests: Requests, pids: Times, places: Times, average: _Average, probe: pd.DataFrame) -> dict[str, Floats]:
    """The pieces of what each of these served requests took, in ms, by what it waited for; its work is left out."""
    took_ms = requests.latency_ms[places]
    late_ms = requests.late_ns[places] / 1e6
    pool_ms, db_ms, app_ms = (
        of[places].astype(np.float64) for of in (requests.pool_ms, requests.db_ms, requests.app_ms)
    )
    pool_ms, app_ms = np.nan_to_num(pool_ms), np.nan_to_num(app_ms)
    # who was not probed is taken to have had the backend that an average request has
    db_ms = np.where(np.isnan(db_ms), np.minimum(average.active_ms, took_ms), db_ms)
    whole_ms = max(average.database_ms, average.active_ms, 1e-9)
    threads_ms = app_ms * average.threadless
    own_ms = np.maximum(took_ms - late_ms - pool_ms - db_ms - app_ms, 0) - average.way_ms
    own_ms += app_ms - threads_ms
    own_ms += db_ms * (1 - average.active_ms / whole_ms)
    own_ms += pool_ms * (1 - average.queueing - average.dialling)
    own_ms = np.maximum(own_ms - average.cpu_ms - average.distance_ms, 0)
    pieces = {
        "generator": late_ms,
        "pool": pool_ms * average.queueing,
        "dial": pool_ms * average.dialling,
        "threads": threads_ms,
        **{name: db_ms * spent_ms / whole_ms for name, spent_ms in average.backends_ms.items()},
    }
    began_ns, ended_ns = requests.due_ns[places] + requests.late_ns[places], requests.finished_ns[places]

    pauses_ms, lags_ms = (
        _worst(probe, column, pids[places], began_ns, ended_ns) for column in ("gc_pause_max_ms", "loop_lag_max_ms")
    )
    for name, most_ms in (
        ("gc", pauses_ms),
        (average.cpu, np.maximum(TAIL * average.cpu_wait_ms, ROUNDS * np.minimum(lags_ms, average.computing_ms))),
        ("machine_cpu", ROUNDS * np.minimum(lags_ms, average.soon_ms)),
        ("event_loop", ROUNDS * np.maximum(lags_ms - max(average.soon_ms, average.computing_ms), 0)),
    ):
        waited_ms = np.minimum(own_ms, most_ms)
        pieces[name] = pieces.get(name, 0.0) + waited_ms
        own_ms = own_ms - waited_ms
    collecting_ms = average.collecting * pieces[average.cpu]
    return pieces | {
        "gc": pieces["gc"] + collecting_ms,
        average.cpu: pieces[average.cpu] - collecting_ms,
        "unseen": own_ms,
    }


def _worst(probe: pd.DataFrame, column: str, pids: Times, began_ns: Times, ended_ns: Times) -> Floats:
    """The largest figure of the lines that tell of a request's time, by the process that answered it; 0 without one."""
    worst = np.zeros(len(pids))
    for pid in np.unique(pids) if len(probe) else ():
        lines = probe[(probe["pid"] == pid).to_numpy()].sort_values("t_ns")
        t_ns, values = lines["t_ns"].to_numpy(), np.append(np.nan_to_num(lines[column].to_numpy(dtype=np.float64)), 0.0)
        own: Bools = pids == pid
        first = np.searchsorted(t_ns, began_ns[own])
        beyond = np.searchsorted(t_ns, ended_ns[own] + READING_NS, side="right")
        bounds = np.stack([first, np.maximum(beyond, first)], axis=1).ravel()
        worst[own] = np.where(beyond > first, np.maximum.reduceat(values, bounds)[::2], 0.0)
    return worst


def _typical_ms(usual_ms: Floats, endpoints: Codes, wanted: Codes) -> Floats:
    """What the quickest requests of each wanted endpoint took for no cause that is seen."""
    typical_ms = np.zeros(len(wanted))
    for endpoint in np.unique(wanted):
        own_ms = usual_ms[endpoints == endpoint]
        typical_ms[wanted == endpoint] = np.quantile(own_ms, TYPICAL_SHARE) if len(own_ms) else 0.0
    return typical_ms


def _refused(
    trial: Trial, requests: Requests, statuses: Times, read: Readings, logged: Mapping[str, int]
) -> dict[str, float]:
    """Of all that failed, which share was refused by what; the others waited until somebody gave up."""
    failed = np.flatnonzero(requests.measured & (requests.outcome != _OK))
    errors = failed[requests.outcome[failed] == _ERROR]
    if not len(errors):
        return {}
    limited = int(np.count_nonzero(statuses[errors] == 429))
    patience_ns = GAVE_UP_SHARE * trial.launch.cell.pool.pool_timeout_s * 1e9
    in_vain = (requests.finished_ns[errors] - requests.due_ns[errors] >= patience_ns) & (statuses[errors] != 429)
    waited = int(np.count_nonzero(in_vain)) if increase(read.probe, "connection_timeouts", read.spans) > 0 else 0
    full = sum(times for line, times in logged.items() if any(words in line.lower() for words in NO_SLOTS))
    others = len(errors) - limited - waited
    slots = others * full / sum(logged.values()) if full else 0.0
    counts = {"limiter": limited, "pool": waited, "max_connections": slots, "failures": others - slots}
    return {name: count / len(failed) for name, count in counts.items() if count}


def _holding(average: _Average) -> dict[str, float]:
    """What those who hold a connection wait for; what of it is not spent on a backend is spent in the service."""
    if not average.held_ms:
        return {}
    own_ms = max(0.0, average.held_ms - average.active_ms - average.distance_ms - average.cpu_ms)
    waits_ms = dict(average.backends_ms)
    waits_ms[average.cpu] = min(own_ms, average.cpu_wait_ms)
    waits_ms["event_loop"] = min(
        own_ms - waits_ms[average.cpu], ROUNDS * max(0.0, average.lag_ms - average.computing_ms)
    )
    return {name: min(1.0, spent_ms / average.held_ms) for name, spent_ms in waits_ms.items()}


def _in_thread(average: _Average) -> dict[str, float]:
    """What those who have a thread wait for."""
    if not average.lent_ms:
        return {}
    own_ms = max(0.0, average.lent_ms - average.pool_ms - average.active_ms - average.distance_ms - average.cpu_ms)
    waits_ms = {
        "pool": average.pool_ms * average.queueing,
        "dial": average.pool_ms * average.dialling,
        **average.backends_ms,
        average.cpu: min(own_ms, average.cpu_wait_ms),
    }
    return {name: min(1.0, spent_ms / average.lent_ms) for name, spent_ms in waits_ms.items()}
