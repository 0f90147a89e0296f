"""Cells in, sittings out: which launches are hot when, and what load each gets. Pure, and drawn from one seed.

The same experiment and outcomes give the same sittings, so a run that was cut can be resumed.
"""

from harness.schedule.capacity import CapacitySearch
from harness.schedule.estimate import (
    Percentile,
    expected_arrivals,
    expected_duration_s,
    launch_noise_sd,
    requests_per_launch,
    run_duration_s,
)
from harness.schedule.fixed import FixedDesign
from harness.schedule.hosts import with_hosts
from harness.schedule.tune import TuneSearch
from harness.schedule.two_stage import TwoStage, most_blocks

__all__ = [
    "CapacitySearch",
    "FixedDesign",
    "Percentile",
    "TuneSearch",
    "TwoStage",
    "expected_arrivals",
    "expected_duration_s",
    "launch_noise_sd",
    "most_blocks",
    "requests_per_launch",
    "run_duration_s",
    "with_hosts",
]
