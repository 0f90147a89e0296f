"""Hands out the builders of synthetic evidence, by the name `build`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # the tests of this folder share synthetic

import synthetic


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """The builders."""
    return synthetic


@pytest.fixture(scope="session")
def around() -> Callable[..., np.ndarray]:
    """Draws latencies that scatter log-normally around a median, the same for the same seed."""

    def draw(median_ms: float, *, seed: int, count: int = 1000) -> np.ndarray:
        return median_ms * np.exp(0.3 * np.random.default_rng(seed).standard_normal(count))

    return draw
