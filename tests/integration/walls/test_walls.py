"""The walls between rooms hold by machine: what is put on the wrong side of one is named, be it new or not."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STRAYS: Mapping[str, tuple[str, str]] = {
    "harness/stray_room.py": ("", "harness.stray_room"),
    "harness/errors_of.py": ("import harness.cli", "harness.errors_of"),
    "harness/schedule/stray.py": ("import harness.plan", "harness.schedule.stray -> harness.plan"),
    "harness/deploy/stray.py": ("import harness.generator.book", "harness.deploy.stray -> harness.generator.book"),
    "harness/observe/stray.py": ("from locust import task", "harness.observe.stray -> locust"),
    "harness/probe/stray.py": ("import harness.errors", "harness.probe.stray -> harness.errors"),
    "harness/relay/stray.py": ("import harness.collect", "harness.relay.stray -> harness.collect"),
    "target_app/stray.py": ("import harness", "target_app.stray -> harness"),
    "scenarios/stray.py": ("import target_app", "scenarios.stray -> target_app"),
    "harness/analyse/stray.py": ("import pathlib", "harness.analyse.stray -> pathlib"),
    "harness/present/stray.py": ("from harness.store import RunStore", "harness.present.stray -> harness.store"),
    "harness/present/figures/stray.py": ("import os.path", "harness.present.figures.stray -> os"),
    "harness/domain/stray.py": ("import subprocess", "harness.domain.stray -> subprocess"),
    "harness/analyse/indirect.py": ("import harness.domain.stray", "harness.analyse.indirect -> harness.domain.stray"),
}
"""File -> what is in it, and how the contracts name the import that is not allowed, or the module that has no place."""
FOREIGN: Mapping[str, set[str]] = {"relay": set(), "probe": {"sqlalchemy", "uvicorn", "anyio"}}
"""Rooms whose processes load the standard library alone, or what the target has anyway -> what else they may import."""
WRITERS = re.compile(
    r"(read|to)_(csv|excel|feather|hdf|html|json|orc|parquet|pickle|sql|table|xml)|(from|to)file|memmap|\w+txt|savez?"
)
"""Methods of pandas and numpy that reach a file without an import of their own."""


@pytest.fixture(scope="module")
def complaint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the import contracts say of this tree with all strays in it."""
    tree = tmp_path_factory.mktemp("tree")
    for package in ("harness", "target_app", "scenarios"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    for path, (text, _) in STRAYS.items():
        (tree / path).write_text(text + "\n", encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tree,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", STRAYS)
def test_a_stray_is_named(path: str, complaint: str) -> None:
    assert STRAYS[path][1] in complaint


def in_room(room: str) -> list[Path]:
    files = sorted((ROOT / "harness" / room).rglob("*.py"))
    assert files
    return files


def reaches(text: str) -> Iterator[str]:
    """Calls that open a file, whoever imported what."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Name(id="open" | "__import__" as name)):
                yield name
            case ast.Call(func=ast.Attribute(attr=name)) if name == "open" or WRITERS.fullmatch(name):
                yield name


@pytest.mark.parametrize("room", ["analyse", "present"])
def test_no_file_is_opened(room: str) -> None:
    found = {path.name: list(reaches(path.read_text(encoding="utf-8"))) for path in in_room(room)}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "io.open('x')",
        "pd.read_parquet(p)",
        "frame.to_csv(p)",
        "np.fromfile(p)",
        "np.memmap(p)",
        "np.savetxt(p)",
    ],
)
def test_a_file_that_is_opened_is_seen(text: str) -> None:
    assert list(reaches(text))


@pytest.mark.parametrize("room", FOREIGN)
def test_a_process_in_the_measured_path_loads_nothing_else(room: str) -> None:
    allowed = {*sys.stdlib_module_names, "harness", *FOREIGN[room]}
    assert {name: path.name for path in in_room(room) for name in imported(path) if name not in allowed} == {}


def imported(path: Path) -> Iterator[str]:
    """Top-level names of what a file imports, its own package aside."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
