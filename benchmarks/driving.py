"""A load plan of one launch against a server that is known, driven by the real generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import drive
from harness.domain.ledger import check_ledger
from harness.domain.load import LaunchLoad, LoadOutput, LoadPlan, Segment, Turn

if TYPE_CHECKING:
    import pandas as pd

LAUNCH_ID = "b1-c1"
GET_SCENARIO = Path(__file__).parent / "stock_locustfile.py"
"""One GET a task; its wait_time does not apply in the open model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """What a load plan yielded; the ledger and the rows agree, or `drive_plan` raises."""

    segments: Sequence[Segment]
    output: LoadOutput
    rows: pd.DataFrame
    generator: pd.DataFrame
    null: pd.DataFrame


def open_segment(
    *,
    index: int = 0,
    rate_rps: float,
    duration_s: float,
    start_s: float = 0.0,
    arrivals: str = "poisson",
    seed: int = 1,
) -> Segment:
    """A measured stretch of the open model."""
    return Segment(
        index=index,
        launch_id=LAUNCH_ID,
        phase="measure",
        start_s=start_s,
        duration_s=duration_s,
        model="open",
        rate_rps=rate_rps,
        users=None,
        arrivals="uniform" if arrivals == "uniform" else "poisson",
        seed=seed,
    )


def drive_plan(
    url: str,
    segments: Sequence[Segment],
    folder: Path,
    *,
    max_in_flight: int,
    request_timeout_s: float = 10.0,
    processes: int = 1,
) -> Driven:
    """Execute the segments against `url`, in one generator process or several."""
    load = LaunchLoad(
        launch_id=LAUNCH_ID,
        host=url,
        scenario=GET_SCENARIO,
        request_timeout_s=request_timeout_s,
        max_in_flight=max_in_flight,
    )
    turn = Turn(launch_id=LAUNCH_ID, duration_s=max(segment.end_s for segment in segments))
    plan = LoadPlan(launches=(load,), segments=tuple(segments), turns=(turn,), output_dir=folder, processes=processes)
    with drive.start(plan) as generator:
        generator.targets_up()
        generator.wait_ready()
        generator.go()
        output = generator.wait()
    rows = drive.read_rows(folder, LAUNCH_ID, segments)
    problems = check_ledger(output.ledger, rows)
    if problems:
        raise AssertionError(f"the ledger and the rows disagree: {problems}")
    return Driven(
        segments=segments,
        output=output,
        rows=rows,
        generator=drive.read_generator_log(folder),
        null=drive.read_null(folder),
    )
