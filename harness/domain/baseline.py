"""A run that was promoted: what others are held against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is known of a baseline without reading its measurements."""

    name: str
    run_id: str
    """of the run that it is a copy of"""
    experiment: str
    created_utc: str
    """when that run began"""
    launches: int
    machine: str
    """what it was measured on; empty where the run does not say"""
    problem: str = ""
    """why it cannot be read; then nothing but its name is known"""
