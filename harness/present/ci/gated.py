"""What CI is told of: a gate's verdict for each cell that was compared, and how each of its rules counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.domain.experiment import Gate
from harness.domain.gate import GateVerdict, RuleVerdict
from harness.domain.verdict import Report
from harness.present.notes import notes
from harness.present.phrases import verdict_text
from harness.present.view import code_text

Outcome = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """A gate as it ended."""

    experiment: str
    gate: Gate
    verdicts: Mapping[str, GateVerdict]
    """by cell; by "" where there is one and it needs no name; none where nothing was judged"""
    created_utc: str
    """when the run began"""
    run: str = ""
    """its folder"""
    code: str = ""
    """which commits were measured"""
    doubts: tuple[str, ...] = ()
    """doubts about the figures"""
    unusable: str = ""
    """why nothing of it counts; empty where it does"""

    def rules(self) -> Iterator[tuple[str, GateVerdict, RuleVerdict, Outcome]]:
        """Every rule with its cell, its verdict and how it counts, in order."""
        for cell, verdict in self.verdicts.items():
            for rule in verdict.rules:
                yield cell, verdict, rule, self._outcome(verdict, rule)

    def _outcome(self, verdict: GateVerdict, rule: RuleVerdict) -> Outcome:
        if rule.verdict == "regressed":
            return "failed"
        if rule.verdict == "invalid" or (rule is verdict.primary and verdict.verdict == "invalid"):
            return "error"
        if rule.verdict != "inconclusive":
            return "passed"
        if self.gate.on_inconclusive == "fail" and verdict.verdict == "inconclusive" and _decides(verdict, rule):
            return "failed"
        return "skipped" if rule.why else "passed"


def gated_of(report: Report, run: str, against: Mapping[str, GateVerdict] | None = None) -> Gated:
    """The gate of a run whose folder is `run`; `against` is what its cells come to beside a run measured before."""
    judged = against or ({} if report.gate is None else {"": report.gate})
    usable = judged and report.summary.verdict.state != "not_applied"
    return Gated(
        experiment=report.info.experiment.name,
        gate=report.info.experiment.gate,
        verdicts=judged,
        created_utc=report.info.created_utc,
        run=run,
        code=code_text(report),
        doubts=notes(report),
        unusable="" if usable else verdict_text(report),
    )


def _decides(verdict: GateVerdict, rule: RuleVerdict) -> bool:
    """Whether a gate is inconclusive because this rule is; others may be without a proof and change nothing."""
    return rule is verdict.primary or rule.kind == "absolute" or rule.why == "unconfirmed"
