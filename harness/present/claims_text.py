"""What claims come to, in sentences and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from harness.domain.claims import EVERYTHING, Behaviour, InContext, Judged, Recording, Settled, Term, Why
from harness.domain.experiment import Experiment
from harness.present.numbers import number

CLAIMS_SCHEMA_VERSION = 1
_WOULD_DECIDE: Mapping[Why, str] = {
    "noise": "the figure lies so near to that bound that more launches are no help; longer ones may be",
    "instrument": (
        "the figure lies no further from that bound than what measures may have moved it: more launches are no help, "
        "longer requests would be"
    ),
    "failed": (
        "requests fail, and of what fails there is no ratio; error_rate or goodput_rps would decide it, or more "
        "launches if all of one side fail and none of the other"
    ),
    "not_applied": "a setting did not take effect, so nothing was compared; a service that takes it would decide it",
    "few_launches": "fewer than three launches of a cell count; measuring it again would decide it",
    "unknown": "a launch has no such figure; an endpoint that is asked, seen by the probe, would decide it",
}


def claim_called(asked: Experiment | Recording) -> str:
    """What a claim is called: its number, or its experiment's name where it has none."""
    return str(asked.claim.number) if asked.claim.number else asked.name


def claim_text(experiment: Experiment) -> str:
    """A claim in a line."""
    return f"{claim_called(experiment)}. {experiment.claim.statement}"


def claim_dict(asked: Experiment | Recording) -> Mapping[str, Any]:
    """The same for programs."""
    claim = asked.claim
    return {"number": claim.number, "name": asked.name, "statement": claim.statement, "expect": claim.expect}


def settled_text(recording: Recording, settled: Settled) -> str:
    """A claim and its answer in a line."""
    return f"{claim_called(recording)}. {settled.answer}: {recording.claim.statement}{where_text(settled)}"


def where_text(settled: Settled) -> str:
    """Of a claim that depends, on what; nothing of any other."""
    if settled.opposite is None:
        return ""
    so, not_so = settled.opposite
    return f" (so with {so}, not with {not_so})"


def seen_lines(settled: Settled) -> Iterator[str]:
    """What was seen of each comparison in each context, and what would decide those that are open."""
    for own in settled.contexts:
        yield from (seen_text(judged, own) for judged in own.judged)


def seen_text(judged: Judged, own: InContext) -> str:
    """One comparison: the figure with its interval, and what it was to be."""
    where = f"{own.context}: " if own.context else ""
    return f"{where}{figure_text(judged)}; {_verdict(judged)}"


def figure_text(judged: Judged) -> str:
    """ "p95_ms(on) / p95_ms(off) = 1.32 (1.21-1.45)"."""
    left, right, ratio = judged.expected.left, judged.expected.right, judged.scale == "ratio"
    what = _term(left, scaled=not ratio)
    if right is not None:
        what = f"{what} {'/' if ratio else '-'} {_term(right, scaled=not ratio)}"
    if math.isnan(judged.value):
        return f"{what} is not known"
    if judged.low == judged.high or math.isnan(judged.low):
        return f"{what} = {number(judged.value)}"
    return f"{what} = {number(judged.value)} ({number(judged.low)} to {number(judged.high)})"


def _term(term: Term, *, scaled: bool) -> str:
    of = term.arm if term.endpoint == EVERYTHING else f"{term.arm}, {term.endpoint}"
    times = f"{term.factor:g} * " if scaled and term.factor != 1 else ""
    return f"{times}{term.metric}({of})"


def _verdict(judged: Judged) -> str:
    sign = (">" if judged.expected.greater else "<") + ("=" if judged.expected.or_equal else "")
    claimed = f"claimed is {sign} {number(judged.bound)}"
    if judged.holds == "yes":
        return f"{claimed}, which holds"
    if judged.holds == "no":
        return f"{claimed}, which does not hold"
    return f"{claimed}, which is open: {decide_text(judged)}"


def decide_text(judged: Judged) -> str:
    """What would decide a comparison that is open."""
    if judged.why == "noise" and judged.launches_needed is not None:
        return f"about {judged.launches_needed} launches of each cell would decide it (design.launches)"
    return _WOULD_DECIDE[judged.why]


def settled_dict(recording: Recording, settled: Settled) -> Mapping[str, Any]:
    """A claim's answer for programs."""
    return {
        **claim_dict(recording),
        "answer": settled.answer,
        "opposite": settled.opposite,
        "run": recording.run_id,
        "measured_utc": recording.measured_utc,
        "contexts": [
            {
                "context": own.context,
                "answer": own.answer,
                "comparisons": [
                    {
                        "text": judged.expected.text,
                        "holds": judged.holds,
                        "scale": judged.scale,
                        "value": judged.value,
                        "low": judged.low,
                        "high": judged.high,
                        "bound": judged.bound,
                        "why": judged.why,
                        "launches_needed": judged.launches_needed,
                    }
                    for judged in own.judged
                ],
            }
            for own in settled.contexts
        ],
    }


def behaviour_text(own: Behaviour) -> str:
    """A claim that a test settles, in a line."""
    return f"{own.number}. {own.verdict}: {own.statement} ({own.because}; {own.test})"


def behaviour_dict(own: Behaviour) -> Mapping[str, Any]:
    """The same for programs."""
    return {
        "number": own.number,
        "statement": own.statement,
        "answer": own.verdict,
        "because": own.because,
        "test": own.test,
    }
