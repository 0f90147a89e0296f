"""Whether the instrument's interval holds the truth: launches against servers that say what they really did.

The truth of an arrival is the server's own account, as `accuracy` has it; the interval is the report's, from the same
rows. A figure is one percentile of one launch. A launch is quiet where the benchmark does nothing beside it, and busy
beside two endless loops in processes of their own, one for each core of the machine the goals were set on.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.driving import Driven

if TYPE_CHECKING:
    import numpy as np

GOAL_INSIDE = 0.95
GOAL_WIDTH_MS, GOAL_WIDTH_SHARE = 1.0, 0.03
LOOPS = 2
_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1_000_000): pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One percentile of one launch."""

    case: str
    share: float
    low_ms: float
    truth_ms: float
    high_ms: float

    @property
    def inside(self) -> bool:
        return self.low_ms <= self.truth_ms <= self.high_ms

    @property
    def width_ms(self) -> float:
        return self.high_ms - self.low_ms

    @property
    def beyond_share_ms(self) -> float:
        """The width without the share of the figure that it may have."""
        return self.width_ms - GOAL_WIDTH_SHARE * self.high_ms


def figures(case: str, driven: Driven, truth_ms: np.ndarray) -> list[Figure]:
    """Every percentile of a launch, as a report has it and as it truly was; `truth_ms` is by arrival, in any order."""
    import numpy as np

    from harness.analyse.endpoint_figures import SHARES, least_of_tasks_ms
    from harness.analyse.estimate import quantile
    from harness.analyse.leg import leg_of
    from harness.analyse.measured import arrivals_of, rows_of
    from harness.analyse.windows import windows

    spans = windows(driven.segments, driven.output.ledger.turns)
    arrivals = arrivals_of(rows_of(driven.rows, spans, spans), spans, spans)
    least_ms = least_of_tasks_ms(arrivals, leg_of(driven.null, spans))
    true, seen = np.sort(truth_ms), np.sort(arrivals.latency_ms)
    return [
        Figure(case=case, share=share, low_ms=low_ms, truth_ms=quantile(true, share), high_ms=quantile(seen, share))
        for share, low_ms in zip(SHARES, least_ms, strict=True)
    ]


def summary(found: Sequence[Figure]) -> Mapping[str, Any]:
    """How many hold the truth, and how wide they are; those that do not, one by one."""
    return {
        "figures": len(found),
        "inside": round(sum(figure.inside for figure in found) / len(found), 4),
        "median_width_ms": round(median(figure.width_ms for figure in found), 3),
        "median_width_beyond_3_percent_ms": round(median(figure.beyond_share_ms for figure in found), 3),
        "outside": [
            {
                "case": figure.case,
                "share": figure.share,
                **{name: round(getattr(figure, name), 3) for name in ("low_ms", "truth_ms", "high_ms")},
            }
            for figure in found
            if not figure.inside
        ],
    }


@contextmanager
def endless_loops() -> Iterator[None]:
    """Keep LOOPS cores busy within the block. A loop also ends when this process does."""
    with ExitStack() as stack:
        for _ in range(LOOPS):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", _LOOP]))
            stack.callback(process.kill)
        yield
