"""What a certificate looks at: what is known of a trial, cut to the segments that are judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analyse.applied import NotApplied
from harness.analyse.arrays import Bools, Codes, Floats, Times
from harness.analyse.littles_law import Held, held
from harness.analyse.measured import OUTCOME_PLACES, Arrivals, arrivals_of, is_in, rows_of
from harness.analyse.resources import Neighbours
from harness.analyse.steady import bin_medians_ms
from harness.analyse.windows import Windows, measured_segments, windows
from harness.domain.columns import names_and_codes
from harness.domain.experiment import Slo
from harness.domain.holds import Leak
from harness.domain.load import Ledger, Segment
from harness.domain.observed import Death, RelayReadings, SamplerGap, Standstill
from harness.domain.tables import PROBE_COLUMNS

PROBE_INTERVAL_MS = 100.0
_UNREAD = (np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one trial, whole."""

    rows: pd.DataFrame
    """its requests, REQUEST_COLUMNS"""
    segments: Sequence[Segment]
    """as planned, all phases"""
    ledger: Ledger
    """the counts of its own segments"""
    ledger_problems: tuple[str, ...]
    """where ledger and rows disagree, one sentence each"""
    gaps: tuple[SamplerGap, ...]
    """stretches in which a sampler gave nothing, of this launch or of all"""
    generator: pd.DataFrame | None
    """t_ns, cpu_share, stall_max_ms, in_flight, lag_max_ms once a second; None when not recorded"""
    probe: pd.DataFrame | None
    """PROBE_COLUMNS, since the target's start; None without the probe"""
    slo: Slo
    """for the error rate that is promised"""
    server: pd.DataFrame | None = None
    """SERVER_COLUMNS, until the target had stopped; None when not recorded"""
    lost_workers: tuple[str, ...] = ()
    """names of the generator's workers that ended before their counts were acknowledged"""
    clock_uncertainty_ms: float = math.nan
    """by how much times of different processes may be off; NaN when not known"""
    generator_ceiling_rps: float | None = None
    """what the generator sends at most on this machine; None when not calibrated"""
    relay: RelayReadings | None = None
    """what lay between the target and Postgres; None when nothing did"""
    outlasting: bool = False
    """whether the service's transactions may last longer than Postgres knows of: they wait in a PgBouncer, or Postgres
    ended them by itself"""
    prepared_at_most: float = 0.0
    """statements that the driver prepared and executed in two steps, which Postgres does not time whole; NaN when not
    known"""
    deaths: tuple[Death, ...] = ()
    """processes that ended while they were needed"""
    standstills: tuple[Standstill, ...] = ()
    """processes that were stopped meanwhile"""
    arrivals: Arrivals | None = None
    """of the rows, where they were worked out already"""
    wrong_settings: tuple[NotApplied, ...] = ()
    """settings that the service does not have"""
    neighbours: Neighbours | None = None
    """what used the machine beside the target; None when not known"""
    leak: Leak | None = None
    """of its connections; None where they came back, or nobody looked"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the reasons look at, cut to the trial's measured segments, or to the rungs of a staircase."""

    known: Known
    """what it was cut from, and what needs no cut"""
    segments: tuple[Segment, ...]
    gaps: tuple[SamplerGap, ...]
    generator: pd.DataFrame
    generator_unseen: bool
    """it wrote down how it fared, but not once meanwhile"""
    probe: pd.DataFrame
    held: Held | None
    """by the probe's lines from the start of the target's processes on"""
    server: Mapping[str, tuple[Times, Floats]]
    """each figure's readings in the order of time, from the launch's start to those after its end"""
    began_ns: int
    """when the launch's first turn began"""
    start_ns: int
    end_ns: int
    """when the service had nothing left to do after the last turn"""
    measured_s: float
    """on the load clock"""
    outcome: Codes
    """of each arrival"""
    empty: int
    """arrivals beside these that sent nothing"""
    ok: Bools
    answered_by: Mapping[int, int]
    """requests that the probe saw, by the process that answered them"""
    warmup_s: float
    """load before the measurement, as it went"""
    bins_ms: Floats
    """median latency by tenth of a second of load, warm-up included; empty for a staircase"""

    @property
    def seconds(self) -> float:
        """From the start of the first segment to the service's last work, turns of other launches included."""
        return (self.end_ns - self.start_ns) / 1e9

    def readings(self, key: str) -> Floats:
        """The figures of one key of the server table during that time, in the order of time."""
        t_ns, values = self.server.get(key, _UNREAD)
        return values[(t_ns >= self.start_ns) & (t_ns <= self.end_ns)]


def judged(known: Known) -> Judged:
    """Cut everything to what is judged."""
    own = measured_segments(known.segments) or _rungs(known)
    spans = windows(own, known.ledger.turns)
    loaded = windows([s for s in known.segments if s.phase == "warmup" or s in own], known.ledger.turns)
    arrivals = known.arrivals
    if arrivals is None:
        arrivals = arrivals_of(rows_of(known.rows, loaded, spans), loaded, spans)
    outcome = arrivals.outcome[arrivals.measured]
    generator = _from_first_to_last(known.generator, spans)
    return Judged(
        known=known,
        segments=tuple(own),
        gaps=tuple(gap for gap in known.gaps if _overlaps(gap, spans)),
        generator=generator,
        generator_unseen=known.generator is not None and generator.empty,
        probe=_within(known.probe, spans),
        held=None if known.probe is None else held(known.probe),
        server={} if known.server is None else _by_key(known.server),
        began_ns=min((turn.start_ns for turn in known.ledger.turns), default=0),
        start_ns=int(spans.start_ns.min(initial=np.iinfo(np.int64).max)),
        end_ns=int(spans.idle_ns.max(initial=0)),
        measured_s=spans.seconds,
        outcome=outcome,
        empty=arrivals.empty,
        ok=outcome == OUTCOME_PLACES["ok"],
        answered_by=_answered_by(known.rows, spans),
        warmup_s=loaded.seconds - spans.seconds,
        bins_ms=bin_medians_ms(arrivals) if measured_segments(known.segments) else np.zeros(0),
    )


def _by_key(server: pd.DataFrame) -> Mapping[str, tuple[Times, Floats]]:
    """Times and values of each figure of the server table, in the order of time."""
    keys, codes = names_and_codes(server["key"])
    t_ns, values = server["t_ns"].to_numpy(), server["value"].to_numpy(dtype=np.float64)
    order = np.argsort(t_ns, kind="stable")
    return {key: (t_ns[own], values[own]) for code, key in enumerate(keys) if len(own := order[codes[order] == code])}


def _answered_by(rows: pd.DataFrame, spans: Windows) -> Mapping[int, int]:
    """Counted by pandas, which hashes: there may be millions."""
    pids = rows["pid"].to_numpy()[is_in(rows["segment"].to_numpy(), spans)]
    if not pids.any():
        return {}
    counts = pd.Series(pids).value_counts()
    return {pid: count for pid, count in zip(counts.index.tolist(), counts.tolist(), strict=True) if pid}


def _rungs(known: Known) -> list[Segment]:
    """The rungs that a staircase came to; the load grows with each, so nothing settles there."""
    rungs = [segment for segment in known.segments if segment.phase == "staircase"]
    return [rung for rung in rungs if windows([rung], known.ledger.turns).seconds > 0]


def _overlaps(gap: SamplerGap, spans: Windows) -> bool:
    """Whether readings are missing from a stretch; of a gap without a length nobody knows when, so it counts."""
    if gap.length_s == 0:
        return True
    end_ns = gap.t_ns + round(gap.length_s * 1e9)
    return bool(((gap.t_ns <= spans.end_ns) & (end_ns >= spans.start_ns)).any())


def _from_first_to_last(generator: pd.DataFrame | None, spans: Windows) -> pd.DataFrame:
    """The generator's readings of the whole time: it serves every launch of the sitting, one reading a second."""
    if generator is None or len(spans.start_ns) == 0:
        return pd.DataFrame({"cpu_share": np.zeros(0), "stall_max_ms": np.zeros(0)})
    t_ns = generator["t_ns"].to_numpy()
    return _those(generator, (t_ns >= spans.start_ns[0]) & (t_ns <= spans.end_ns[-1]))


def _within(probe: pd.DataFrame | None, spans: Windows) -> pd.DataFrame:
    """The probe's lines that tell of the stretches, or of the time until the service was idle after them.

    A line's maxima are over the time before it: what began within a stretch may be told after its end.
    """
    if probe is None or len(spans.start_ns) == 0:
        return _empty(PROBE_COLUMNS)
    if probe.empty:
        return probe
    t_ns = probe["t_ns"].to_numpy()
    longest_ms = probe[["loop_lag_max_ms", "gc_pause_max_ms"]].max(axis=1).to_numpy(dtype=np.float64)
    since_ns = t_ns - (1e6 * np.maximum(np.nan_to_num(longest_ms), PROBE_INTERVAL_MS)).astype(np.int64)
    last = np.searchsorted(spans.start_ns, t_ns, side="right") - 1
    tells: Bools = (last >= 0) & (spans.idle_ns[np.maximum(last, 0)] >= since_ns)
    return _those(probe, tells)


def _those(table: pd.DataFrame, rows: Bools) -> pd.DataFrame:
    """These rows, without a copy where they are all of them: on a small table it takes longer than what follows."""
    if rows.all():
        return table
    some: pd.DataFrame = table[rows]
    return some


def _empty(columns: Iterable[str]) -> pd.DataFrame:
    return pd.DataFrame({name: np.zeros(0) for name in columns})
