"""`python harness/probe/__main__.py APP --fd N`: serve an app, measured.

Started by its path, in whichever interpreter the service has. A service may have a package called `harness` itself, and
modules called like those beside this file: this package goes under a name of its own, and its folder off `sys.path`,
before anything else is imported. Worker processes run this file once more, as `__mp_main__`, which loads the package.
"""

from __future__ import annotations

import os
import sys

_PACKAGE = "_poolbench_probe"
_HERE = os.path.dirname(os.path.abspath(__file__))

if sys.path and os.path.abspath(sys.path[0] or os.curdir) == _HERE:
    sys.path[0] = os.getcwd()  # as `python -m` has it

import argparse
import importlib.util
import socket

if _PACKAGE not in sys.modules:
    _spec = importlib.util.spec_from_file_location(
        _PACKAGE, os.path.join(_HERE, "__init__.py"), submodule_search_locations=[_HERE]
    )
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules[_PACKAGE] = _module = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_module)


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

    serve = importlib.import_module(f"{_PACKAGE}.serve").serve
    code: int = serve(
        options.app,
        listener=listener,
        workers=options.workers,
        probe=options.probe,
        log_level=options.log_level,
    )
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness.probe",
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
