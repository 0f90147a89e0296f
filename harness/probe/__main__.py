"""`python -m harness.probe APP --fd N`: serve an app, measured."""

from __future__ import annotations

import argparse
import os
import socket
import sys


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    if ":" not in options.app:
        parser.error(f'APP must be "pkg.module:attribute", not "{options.app}".')
    if options.workers < 1:
        parser.error("--workers must be at least 1.")
    if options.cpus:
        try:
            os.sched_setaffinity(0, options.cpus)
        except OSError as error:
            parser.error(f"--cpus names processors this machine does not let us use ({error.strerror}).")
    try:
        listener = socket.socket(fileno=options.fd)
    except OSError as error:
        parser.error(f"--fd {options.fd} is no socket ({error.strerror}): pass a listening one.")

    from harness.probe.serve import serve

    return serve(
        options.app,
        listener=listener,
        workers=options.workers,
        probe=options.probe,
        log_level=options.log_level,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.probe",
        description="Serve an ASGI app with uvicorn on an inherited socket and measure its pools, loop and responses.",
    )
    parser.add_argument("app", metavar="APP", help='"pkg.module:attribute", an app or a function that makes one')
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the socket (default 1)")
    parser.add_argument("--cpus", type=_cpus, help="run on these processors only, for example 0,1")
    parser.add_argument("--no-probe", dest="probe", action="store_false", help="serve only, measure nothing")
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error", "critical"))
    return parser


def _cpus(text: str) -> set[int]:
    try:
        return {int(part) for part in text.split(",")}
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a list of processor numbers such as 0,1') from None


if __name__ == "__main__":
    sys.exit(main())
