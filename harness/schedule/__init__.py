"""Cells in, sittings out: which launches are hot when, and what load each gets. Pure, and drawn from one seed.

The same experiment and rate give the same sittings, so a run that was cut can be resumed.
"""

from harness.schedule.estimate import (
    Percentile,
    expected_arrivals,
    expected_duration_s,
    launch_noise_sd,
    requests_per_launch,
    run_duration_s,
)
from harness.schedule.hosts import with_hosts
from harness.schedule.sittings import sittings
from harness.schedule.staircase import staircase_sitting

__all__ = [
    "Percentile",
    "expected_arrivals",
    "expected_duration_s",
    "launch_noise_sd",
    "requests_per_launch",
    "run_duration_s",
    "sittings",
    "staircase_sitting",
    "with_hosts",
]
