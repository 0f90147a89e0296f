"""Other load generators, as most people run them: what they report about the same server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

STOCK_LOCUSTFILE = Path(__file__).parent / "stock_locustfile.py"
_UNITS_MS: Mapping[str, float] = {"us": 1e-3, "ms": 1.0, "s": 1e3}

Percentiles = Mapping[str, float]


def locust_closed(url: str, *, rate_rps: float, users: int, duration_s: float) -> Percentiles:
    """Stock Locust: `users` users with constant_throughput, together `rate_rps` while the server keeps up."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        options = ["-u", str(users), "-r", "100", "-t", f"{max(1, round(duration_s))}s", "--json-file", str(report)]
        run_locust(STOCK_LOCUSTFILE, url, options, {"STOCK_THROUGHPUT": repr(rate_rps / users)})
        (stats,) = json.loads(report.with_suffix(".json").read_text())
    times_ms = sorted((float(ms), int(count)) for ms, count in stats["response_times"].items())
    return {
        "p50_ms": _weighted(times_ms, 0.50),
        "p90_ms": _weighted(times_ms, 0.90),
        "p95_ms": _weighted(times_ms, 0.95),
        "p99_ms": _weighted(times_ms, 0.99),
        "rps": stats["num_requests"] / (stats["last_request_timestamp"] - stats["start_time"]),
    }


def run_locust(locustfile: Path, url: str, options: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run plain Locust to its end; `options` say how many users and for how long."""
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--host", url, "--headless", "--only-summary"]
    quiet = ["--loglevel", "ERROR", "--exit-code-on-error", "0"]
    subprocess.run([*command, *quiet, *options], check=True, capture_output=True, env=_environment(environment))


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")} | dict(more)


def _weighted(times_ms: Sequence[tuple[float, int]], share: float) -> float:
    wanted = share * sum(count for _, count in times_ms)
    seen = 0
    for ms, count in times_ms:
        seen += count
        if seen >= wanted:
            return ms
    raise ValueError("Locust reported no request")


def wrk(url: str, *, connections: int, duration_s: float) -> Percentiles | None:
    """wrk, which sends on each connection as soon as it is answered; None where it is not installed."""
    if shutil.which("wrk") is None:
        return None
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(duration_s))}s", "--latency", "--timeout", "10s"]
    text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    found = {
        f"p{share}_ms": float(value) * _UNITS_MS[unit]
        for share, value, unit in re.findall(r"^\s+(50|90|99)%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
    }
    return found | {"rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])}  # type: ignore[index]  # it prints it


def hey(url: str, *, rate_rps: float, connections: int, duration_s: float) -> Percentiles | None:
    """hey with its rate limit, `rate_rps` in all; None where it is not installed."""
    if shutil.which("hey") is None:
        return None
    options = ["-z", f"{max(1, round(duration_s))}s", "-c", str(connections), "-q", f"{rate_rps / connections:g}"]
    text = subprocess.run(["hey", *options, url], check=True, capture_output=True, text=True).stdout
    found = {f"p{share}_ms": float(s) * 1e3 for share, s in re.findall(r"(50|90|95|99)%+ in ([\d.]+) secs", text)}
    return found | {"rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])}  # type: ignore[index]  # it prints it
