"""What a calibration of the machine knows of a percentile's noise before a run has shown any."""

from __future__ import annotations

import math

from harness.analyse.spread import Prior
from harness.domain.profile import MachineProfile


def prior_of(profile: MachineProfile | None, share: float) -> Prior | None:
    """The noise of one launch's log percentile `share` (0.95), None where the machine was not calibrated for it.

    Calibration took the ratio of two equal cells in each of its blocks, whose true mean is known: one degree of freedom
    a block, and twice the variance of one launch.
    """
    noise = None if profile is None else profile.noise_of(f"p{100 * share:g}")
    if profile is None or noise is None or noise.ratio_sd <= 0:
        return None
    return Prior(sd=noise.ratio_sd / math.sqrt(2), freedom=float(profile.launches))
