"""poolbench: which pool, driver and session settings should a service run with, and what will it then carry?

For notebooks and scripts: `harness.open_run("results/<run-id>")`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.notebook import OpenRun

__version__ = "0.1.0"
__all__ = ["OpenRun", "__version__", "open_run"]


def open_run(path: str | Path | None = None, *, results: str | Path = "results") -> OpenRun:
    """Open a run's folder, or the latest one in `results`, to look at its cells, trials, requests and metrics.

    Raises:
        harness.errors.UsageError: there is no such run, or it is damaged.
    """
    from harness.notebook import OpenRun

    return OpenRun.at(Path(path) if path is not None else None, Path(results))
