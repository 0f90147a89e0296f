"""How exactly the relay keeps its time."""

from __future__ import annotations

import itertools

_LATE_STEP_US = 10
_LATE_STEPS = 2000


class Lateness:
    """How much later than due pieces were passed on, in steps of 10 us; the last step holds 20 ms and more."""

    def __init__(self) -> None:
        self._counts = [0] * (_LATE_STEPS + 1)
        self._max_ns = 0

    def add(self, late_ns: int) -> None:
        self._counts[min(late_ns // (_LATE_STEP_US * 1000), _LATE_STEPS)] += 1
        self._max_ns = max(self._max_ns, late_ns)

    def quantile_ms(self, share: float) -> float:
        """The upper end of the step that holds the quantile; 0 where nothing was passed on.

        By the definition of `harness.domain.rank`, which this process does not load.
        """
        wanted = share * sum(self._counts)
        reached = itertools.accumulate(self._counts)
        step = next((step for step, count in enumerate(reached) if count and count >= wanted), -1)
        return min((step + 1) * _LATE_STEP_US / 1000, self.max_ms)

    @property
    def max_ms(self) -> float:
        return self._max_ns / 1e6
