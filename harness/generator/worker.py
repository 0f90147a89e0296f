"""`python -m harness.generator.worker HOST:PORT`: lend this machine to a run on another one (docs/distributed.md).

Each sitting of a run gets a fresh process, as on the coordinating machine; between sittings and until the first this
waits for the coordinator. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import harness

RETRY_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m harness.generator.worker", description="Lend this machine to a run."
    )
    parser.add_argument("address", metavar="HOST:PORT", help="where the coordinator listens: its load.workers.bind")
    parser.add_argument("--once", action="store_true", help="end after one sitting")
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"{options.address!r} is not HOST:PORT")
    try:
        return _work(_command(host, port), once=options.once)
    except KeyboardInterrupt:
        return 130


def _work(command: list[str], *, once: bool) -> int:
    while True:
        code = subprocess.run(command, check=False, env=_environment()).returncode
        if once:
            return code
        if code:
            time.sleep(RETRY_S)  # what failed is told by the coordinator; the next sitting may do better


def _command(host: str, port: str) -> list[str]:
    locustfile = Path(__file__).with_name("locustfile.py")
    options = ["--worker", "--master-host", host, "--master-port", port, "--loglevel", "WARNING"]
    return [sys.executable, "-m", "locust", "-f", str(locustfile), *options]


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    path = [str(Path(harness.__file__).resolve().parent.parent), environment.get("PYTHONPATH", "")]
    return environment | {"PYTHONPATH": os.pathsep.join(filter(None, path)), "POOLBENCH_FOLDER": str(Path.cwd())}


if __name__ == "__main__":
    sys.exit(main())
