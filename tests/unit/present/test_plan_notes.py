"""What `poolbench plan` says below its tables, and when it says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from harness.domain.experiment import Limits, ProbeUser
from harness.domain.profile import MachineProfile, Rung
from harness.present import plan_notes


def profile(ceiling_rps: float = 2000.0) -> MachineProfile:
    rung = Rung(rate_rps=ceiling_rps, offered=100, served=100, dropped=0, lag_p50_ms=0.1, lag_p99_ms=1.0, kept_up=True)
    return MachineProfile(
        schema_version=1,
        measured_utc="2026-01-02T03:04:05Z",
        poolbench_version="0",
        machine={},
        generator=(rung,),
        noise=(),
        launches=5,
        requests_per_launch=1000.0,
    )


def said(**changes: Any) -> tuple[str, ...]:
    known: dict[str, Any] = {
        "cells": 3,
        "detectable": {"p50": 0.0512, "p95": 0.2449},
        "why_blocked": "",
        "arrivals": 4500,
        "highest_rps": 100.0,
        "processes": 1,
        "cores": 2,
        "profile": profile(),
        "probe_user": ProbeUser(),
    }
    return plan_notes(**(known | changes))


def test_what_a_plan_tells_apart_and_offers() -> None:
    assert said() == (
        (
            "This plan tells apart differences from 5.12 % in p50 and from 24 % in p95 on, four times in five "
            "(noise calibrated 2026-01-02)."
        ),
        "It offers about 4\u202f500 arrivals in all.",
    )


def test_without_a_calibration_the_noise_is_assumed_and_calibrating_advised() -> None:
    notes = said(profile=None)
    assert "(typical noise assumed)" in notes[0]
    assert notes[-1] == "To know this machine's noise, measure it once: poolbench calibrate"


def test_one_launch_tells_nothing_apart_and_the_rest_is_said_all_the_same() -> None:
    assert said(detectable={"p50": None, "p95": None}, highest_rps=1810.0) == (
        "One launch tells no difference apart: set design.launches to 3 or more.",
        (
            "Launches will be invalid: 1\u202f810 arrivals/s are asked of a generator that sends at most "
            "2\u202f000 here, of which 90 % may be used."
        ),
        "It offers about 4\u202f500 arrivals in all.",
    )


def test_a_figure_that_says_nothing_is_not_printed() -> None:
    assert said(detectable={"p50": 8.99, "p95": 17391977.51})[:2] == (
        "This plan tells apart differences from 899 % in p50 on, four times in five (noise calibrated 2026-01-02).",
        (
            "It may miss even a tenfold difference in p95 (noise calibrated 2026-01-02): "
            "raise design.launches or load.measure_s."
        ),
    )
    none = said(detectable={"p50": 9.01, "p95": 9.01})
    assert "tenfold difference in p50 and in p95" in none[0]
    assert len(none) == 2


def test_one_cell_has_nothing_to_tell_apart() -> None:
    alone: dict[str, Any] = {"cells": 1, "detectable": {"p50": None, "p95": None}, "why_blocked": "it is far"}
    assert said(**alone) == ("It offers about 4\u202f500 arrivals in all.",)
    assert said(**alone, profile=None) == ("It offers about 4\u202f500 arrivals in all.",)
    assert any("will be invalid" in note for note in said(**alone, highest_rps=2001.0))


def test_blocked_without_having_been_asked_for_says_why() -> None:
    assert said(why_blocked="it is far")[0] == "One launch at a time (blocked), because it is far."


@pytest.mark.parametrize(("arrivals", "note"), [(None, ""), (0, ""), (1, "It offers about 1 arrival in all.")])
def test_arrivals_are_told_where_they_are_known(arrivals: int | None, note: str) -> None:
    assert "".join(found for found in said(arrivals=arrivals) if "offers" in found) == note


@pytest.mark.parametrize(("rate_rps", "warned"), [(1800.0, False), (1801.0, True)])
def test_a_rate_beyond_the_generator_is_warned_of(rate_rps: float, warned: bool) -> None:
    assert any("will be invalid" in note for note in said(highest_rps=rate_rps)) is warned
    assert not any("will be invalid" in note for note in said(highest_rps=rate_rps, profile=None))


def test_more_generator_processes_than_cores_are_said_before() -> None:
    note = (
        "3 load generator processes share 2 cores with the service: they wait for each other, which is measured as "
        "latency. Set load.processes to 1 or less."
    )
    assert note in said(processes=3)
    assert said(processes=2) == said()
    assert "share 1 core with" in " ".join(said(processes=2, cores=1))


def test_who_asks_beside_the_load_is_named_with_what_is_promised() -> None:
    asks = ProbeUser(request="GET /ready", slo=Limits(p95_ms=1000))
    beside = "Beside the load a probe user sends GET /ready, 0.2 times a second, in no other figure; promised of it: "
    assert f"{beside}p95 at most 1000 ms." in said(probe_user=asks)
    assert f"{beside}nothing." in said(probe_user=ProbeUser(request="GET /ready"))
