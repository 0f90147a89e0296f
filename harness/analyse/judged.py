"""What a certificate looks at: a trial's evidence, cut to the segments that are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analyse.arrays import Bools, Codes, Floats
from harness.analyse.measured import OUTCOME_PLACES, category_codes
from harness.analyse.rounds import Windows, measured_segments, windows
from harness.domain.evidence import PROBE_COLUMNS, SamplerGap
from harness.domain.experiment import Slo
from harness.domain.load import Ledger, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the reasons look at, cut to the trial's measured segments (a staircase trial: to its rungs)."""

    segments: tuple[Segment, ...]
    ledger: Ledger
    ledger_problems: tuple[str, ...]
    gaps: tuple[SamplerGap, ...]
    generator: pd.DataFrame
    probe: pd.DataFrame
    slo: Slo
    outcome: Codes
    ok: Bools
    latency_ms: Floats
    """of served requests, ascending"""
    lag_ms: Floats
    """started - intended of the open model's arrivals that were sent, ascending"""


def judged(
    *,
    rows: pd.DataFrame,
    segments: Sequence[Segment],
    ledger: Ledger,
    ledger_problems: tuple[str, ...],
    gaps: tuple[SamplerGap, ...],
    generator: pd.DataFrame | None,
    probe: pd.DataFrame | None,
    slo: Slo,
) -> Judged:
    """Cut everything to what is judged; arguments as for `certify`."""
    own = measured_segments(segments) or [segment for segment in segments if segment.phase == "staircase"]
    spans = windows(own, ledger)
    rows = rows[np.isin(rows["segment"].to_numpy(), spans.segments)]
    outcome = category_codes(rows["outcome"], OUTCOME_PLACES)
    ok = outcome == OUTCOME_PLACES["ok"]
    intended, started = rows["intended_ns"].to_numpy(), rows["started_ns"].to_numpy()
    open_model = np.isin(rows["segment"].to_numpy(), [segment.index for segment in own if segment.model == "open"])
    sent = open_model & (rows["sequence"].to_numpy() == 0) & (started >= 0)
    return Judged(
        segments=tuple(own),
        ledger=ledger,
        ledger_problems=ledger_problems,
        gaps=tuple(gap for gap in gaps if _overlaps(gap, spans)),
        generator=_from_first_to_last(generator, spans),
        probe=_within(probe, spans),
        slo=slo,
        outcome=outcome,
        ok=ok,
        latency_ms=np.sort((rows["finished_ns"].to_numpy() - intended)[ok] / 1e6),
        lag_ms=np.sort((started - intended)[sent] / 1e6),
    )


def _overlaps(gap: SamplerGap, spans: Windows) -> bool:
    """Whether readings are missing from a stretch; of a gap without a length nobody knows when, so it counts."""
    if gap.length_s == 0:
        return True
    end_ns = gap.t_ns + round(gap.length_s * 1e9)
    return bool(((gap.t_ns <= spans.end_ns) & (end_ns >= spans.start_ns)).any())


def _from_first_to_last(generator: pd.DataFrame | None, spans: Windows) -> pd.DataFrame:
    """The generator's readings of the whole time: it serves every launch of the sitting, one reading a second."""
    if generator is None or len(spans.start_ns) == 0:
        return pd.DataFrame({"cpu_share": np.zeros(0)})
    t_ns = generator["t_ns"].to_numpy()
    during: pd.DataFrame = generator[(t_ns >= spans.start_ns[0]) & (t_ns <= spans.end_ns[-1])]
    return during


def _within(probe: pd.DataFrame | None, spans: Windows) -> pd.DataFrame:
    """The probe's lines written during the stretches or their guards."""
    if probe is None:
        return pd.DataFrame({name: np.zeros(0) for name in PROBE_COLUMNS})
    inside, _ = spans.locate(probe["t_ns"].to_numpy(), with_guard=True)
    return probe[inside]
