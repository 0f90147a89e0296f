"""What calibration found out about a machine: how fast its generator is, how noisy its measurements are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROFILE_SCHEMA_VERSION = 1
CEILING_SHARE_MAX = 0.9
"""Of what the generator was found to send at most: a launch that asks for more is invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """How the generator fared at one rate, against a server that answers at once."""

    rate_rps: float
    offered: int
    served: int
    """answered well within the rung and its guard"""
    dropped: int
    lag_p50_ms: float
    lag_p99_ms: float
    kept_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much a percentile scatters when nothing is changed; relative, as sds of logarithms."""

    percentile: str
    within_sd: float
    """of one launch's figure, from how its halves differ: what remains however alike the launches are"""
    launch_sd: float
    """between launches of the same cell"""
    ratio_sd: float
    """of the ratio of two launches that were measured in turns"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineProfile:
    """Holds for the machine and versions it was measured on, and for no other."""

    schema_version: int
    measured_utc: str
    poolbench_version: str
    machine: Mapping[str, Any]
    generator: tuple[Rung, ...]
    noise: tuple[Noise, ...]
    launches: int
    """that each of the two equal cells had; the noise is known the better the more there are"""
    requests_per_launch: float
    observer: Mapping[str, Any] = field(default_factory=dict)
    """what probe and samplers cost, as `python -m benchmarks observer` found it; empty when not measured"""

    @property
    def generator_ceiling_rps(self) -> float | None:
        """The highest rate at which the generator kept up; None when it did at none."""
        return max((rung.rate_rps for rung in self.generator if rung.kept_up), default=None)

    def noise_of(self, percentile: str) -> Noise | None:
        return next((noise for noise in self.noise if noise.percentile == percentile), None)
