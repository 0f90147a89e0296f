"""Lets the probe into a service that its own command starts: Python imports this before anything of the service.

It does nothing until uvicorn is imported: other programs that the command runs, such as migrations, stay as they are.
A `sitecustomize` that the service has itself is imported as it would have been.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

_PACKAGE = "_poolbench_probe"
_HERE = os.path.dirname(os.path.abspath(__file__))
_PROBE = os.path.dirname(_HERE)


class _AfterUvicorn:
    """Finds uvicorn where it is, and lets the probe in when it has been imported."""

    def __init__(self) -> None:
        self._asking = False

    def find_spec(self, name: str, *_where: Any) -> Any:
        if name != "uvicorn" or self._asking:
            return None
        self._asking = True  # it may be looked for more than once before it is imported, as `python -m uvicorn` does
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        loader: Any = spec and spec.loader
        if loader is not None:
            plain = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                plain(module)
                _enter()

            loader.exec_module = exec_module
        return spec


def _enter() -> None:
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, os.path.join(_PROBE, "__init__.py"), submodule_search_locations=[_PROBE]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[_PACKAGE] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    importlib.import_module(f"{_PACKAGE}.serve").enter()


sys.meta_path.insert(0, _AfterUvicorn())
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _HERE]
_own = sys.modules.pop("sitecustomize", None)
try:
    importlib.import_module("sitecustomize")  # the service's
except ImportError:
    if _own is not None:
        sys.modules["sitecustomize"] = _own
