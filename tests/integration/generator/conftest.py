"""A short way to run a scenario's source against a stub."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pandas as pd
import pytest
from forked import Forked, Forks

from harness import drive
from harness.domain.load import LaunchLoad, LoadPlan, ProbeRequest, Segment, Turn

sys.path.append(str(Path(__file__).parent))  # the tests of this folder share load_stub

from load_stub import Answer, Result, Run, Seen, Stub, segment, serving, whole_turns

FORKS = Forks("locust.main")


def _forked(command: Sequence[str], *, stdout: IO[bytes], cwd: Path, env: Mapping[str, str], **_: Any) -> Forked:
    """The generator's process as `drive` starts it, with Locust imported."""
    environment = {**env, "POOLBENCH_PARENT_PID": str(FORKS.pid)}
    return FORKS.start(command[1:], cwd=cwd, env=environment, out=stdout.fileno(), err=stdout.fileno())


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generators are forked."""
    instead = SimpleNamespace(Popen=_forked, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(drive, "subprocess", instead)


@pytest.fixture
def run(tmp_path: Path, forking: None) -> Run:
    """Run a scenario's source against a stub that behaves as told. Returns what came of it."""

    def _run(
        source: str,
        behave: Callable[[Seen], Answer] = lambda _: Answer(),
        *,
        segments: Sequence[Segment] = (),
        turns: Sequence[tuple[str, float]] = (),
        pause_s: float = 0.05,
        connections: int | None = None,
        gauges: Path | None = None,
        request_timeout_s: float = 5.0,
        max_in_flight: int = 200,
        host: str | None = None,
        credentials: str = "",
        probe_user: ProbeRequest | None = None,
        **load: Any,
    ) -> Result:
        scenario = tmp_path / "scenario.py"
        scenario.write_text(textwrap.dedent(source))
        stub = Stub(behave)
        segments = segments or (segment(),)
        with serving(stub) as url:
            plan = LoadPlan(
                launches=tuple(
                    LaunchLoad(
                        launch_id=launch_id,
                        host=host or (url.replace("://", f"://{credentials}@") if credentials else url),
                        scenario=scenario,
                        request_timeout_s=request_timeout_s,
                        max_in_flight=max_in_flight,
                        connections=connections,
                        gauges=gauges,
                        **load,
                    )
                    for launch_id in dict.fromkeys(each.launch_id for each in segments)
                ),
                segments=tuple(segments),
                turns=tuple(Turn(launch_id=launch_id, duration_s=duration_s) for launch_id, duration_s in turns)
                or whole_turns(segments),
                pause_s=pause_s,
                output_dir=tmp_path / "out",
                probe_user=probe_user,
            )
            with drive.start(plan) as generator:
                generator.targets_up()
                generator.wait_ready(20.0)
                generator.go()
                output = generator.wait()
        launch_id = segments[0].launch_id
        everything = {
            load.launch_id: drive.read_rows(plan.output_dir, load.launch_id, plan.segments) for load in plan.launches
        }
        rows = everything[launch_id]
        own = {each.index for each in segments if each.launch_id == launch_id}
        assert drive.check_ledger(output.ledger, pd.concat(everything.values(), ignore_index=True)) == ()
        return Result(
            output=output,
            rows=rows[rows.segment.isin(own)].reset_index(drop=True),
            setup=rows[~rows.segment.isin(own)],
            seen=tuple(stub.seen),
            plan=plan,
            all_rows=everything,
        )

    return _run
