"""Reads what a generator wrote: rows, and how the generator itself fared; of one process or of several."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.domain.load import SETUP_SEGMENT, Segment
from harness.domain.rows import NULL_LAUNCH, RECORD_BYTES, RECORD_FIELDS, names_file, probe_user_of, rows_file
from harness.domain.tables import (
    NULL_COLUMNS,
    OUTCOMES,
    PROBE_USER_COLUMNS,
    REQUEST_COLUMNS,
    no_null_requests,
    no_probe_user,
)

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("setup", "staircase", "warmup", "measure")
"""Categories of `requests.phase`."""


def read_rows(output_dir: Path, launch_id: str, segments: Iterable[Segment]) -> pd.DataFrame:
    """One launch's requests, with exactly the columns and types of REQUEST_COLUMNS, in the order they ended.

    Only what the generator wrote completely counts: a record cut off by a kill is left out, and so is everything of a
    worker that was lost.
    """
    import pandas as pd

    workers = [worker for worker in read_workers(output_dir) if not worker["lost"]]
    if not workers:
        return _read_part(output_dir, launch_id, segments)
    segments = tuple(segments)
    parts = [_in_our_time(_read_part(output_dir / w["folder"], launch_id, segments), w["offsets"]) for w in workers]
    for column in (name for name, kind in REQUEST_COLUMNS.items() if kind == "category"):
        names = list(dict.fromkeys(name for part in parts for name in part[column].cat.categories))
        for part in parts:
            part[column] = part[column].cat.set_categories(names)
    rows = pd.concat(parts, ignore_index=True)
    ended_ns = rows["finished_ns"].where(rows["finished_ns"] >= 0, rows["intended_ns"])
    return rows.iloc[ended_ns.argsort(kind="stable")].reset_index(drop=True)


def read_null(output_dir: Path) -> pd.DataFrame:
    """What the requests to a service that does nothing took: NULL_COLUMNS of those that were answered."""
    if not any(output_dir.glob(f"**/{rows_file(NULL_LAUNCH)}")):
        return no_null_requests()
    rows = read_rows(output_dir, NULL_LAUNCH, ())
    answered: pd.DataFrame = rows.loc[rows["outcome"] == "ok", list(NULL_COLUMNS)].reset_index(drop=True)
    return answered


def read_probe_user(output_dir: Path, launch_id: str) -> pd.DataFrame:
    """What the launch's probe user was answered: PROBE_USER_COLUMNS, in the order the answers came."""
    own = probe_user_of(launch_id)
    if not any(output_dir.glob(f"**/{rows_file(own)}")):
        return no_probe_user()
    rows: pd.DataFrame = read_rows(output_dir, own, ())[list(PROBE_USER_COLUMNS)]
    return rows


def read_workers(output_dir: Path) -> list[dict[str, Any]]:
    """What the coordinator says of its workers; empty when one process executed the plan alone."""
    path = output_dir / "workers.json"
    if not path.exists():
        return []
    workers: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return workers


def _in_our_time(rows: pd.DataFrame, offsets: Sequence[dict[str, int]]) -> pd.DataFrame:
    """Rows of a worker on this machine's clock: its offset was measured before and after, and drifts evenly."""
    import numpy as np

    first, last = offsets[0], offsets[-1]
    share = (rows["intended_ns"].to_numpy() - first["at_ns"]) / max(1, last["at_ns"] - first["at_ns"])
    drift_ns = np.rint(np.clip(share, 0.0, 1.0) * (last["offset_ns"] - first["offset_ns"])).astype(np.int64)
    for column in ("intended_ns", "handed_ns", "started_ns", "finished_ns"):
        theirs = rows[column].to_numpy()
        rows[column] = np.where(theirs >= 0, theirs - first["offset_ns"] - drift_ns, theirs)
    return rows


def _read_part(output_dir: Path, launch_id: str, segments: Iterable[Segment]) -> pd.DataFrame:
    """The rows that one process wrote."""
    import numpy as np
    import pandas as pd

    data = (output_dir / rows_file(launch_id)).read_bytes()
    records = np.frombuffer(data, dtype=np.dtype(list(RECORD_FIELDS)), count=len(data) // RECORD_BYTES)
    names = _names(output_dir / names_file(launch_id))
    categories = {
        "task": (records["task"], names["tasks"]),
        "endpoint": (records["endpoint"], names["endpoints"]),
        "error": (records["error"], names["errors"]),
        "outcome": (records["outcome"], OUTCOMES),
        "phase": (_phase_codes(records["segment"], segments), PHASES),
    }
    columns: dict[str, Any] = {}
    for column, kind in REQUEST_COLUMNS.items():
        if column in categories:
            codes, values = categories[column]
            columns[column] = pd.Categorical.from_codes(codes.astype(np.int32), categories=pd.Index(values, dtype=str))
        else:
            columns[column] = records[column].astype(kind)
    return pd.DataFrame(columns)


def _names(path: Path) -> dict[str, list[str]]:
    if not path.exists():  # it is written before the first record
        return {"tasks": [], "endpoints": [], "errors": []}
    names: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return names


def _phase_codes(numbers: Any, segments: Iterable[Segment]) -> Any:
    """Positions in PHASES, one a record."""
    import numpy as np

    phases = {segment.index: PHASES.index(segment.phase) for segment in segments}
    phases[SETUP_SEGMENT] = PHASES.index("setup")
    present, inverse = np.unique(numbers, return_inverse=True)
    return np.array([phases[int(number)] for number in present], dtype=np.int32)[inverse]


def read_generator_log(output_dir: Path) -> pd.DataFrame:
    """How the generator itself fared, one row a second: t_ns, cpu_share, stall_max_ms, in_flight, lag_max_ms.

    Of several processes each has rows of its own.
    """
    import pandas as pd

    workers = [worker for worker in read_workers(output_dir) if not worker["lost"]]
    parts = [(output_dir / w["folder"], w["offsets"][0]["offset_ns"]) for w in workers] or [(output_dir, 0)]
    found: list[dict[str, Any]] = []
    for folder, offset_ns in parts:
        lines = (folder / "generator.jsonl").read_text(encoding="utf-8").split("\n")[:-1]  # the last may be cut off
        readings = [json.loads(line) for line in lines]
        found += [reading | {"t_ns": reading["t_ns"] - offset_ns} for reading in readings]
    columns = ["t_ns", "cpu_share", "stall_max_ms", "in_flight", "lag_max_ms"]
    return pd.DataFrame(sorted(found, key=operator.itemgetter("t_ns")), columns=columns)
