"""A gap in one target's probe concerns its own launch alone."""

from __future__ import annotations

from pathlib import Path

from harness.domain.deployed import RunningTarget
from harness.observe.probe import read_probe


def test_a_missing_probe_file_names_its_launch(tmp_path: Path) -> None:
    targets = [
        RunningTarget(launch_id=name, host="", database=None, pids=(), probe_dir=tmp_path / name, log=None)
        for name in ("b1-c1", "b1-c2")
    ]
    _, gaps = read_probe(targets)
    assert [gap.launch_id for gap in gaps] == ["b1-c1", "b1-c2"]
