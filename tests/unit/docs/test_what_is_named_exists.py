"""What the docs name is there under that name: files, modules, tests, commands, options, keys, headings."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import jsonschema_rs
import pytest
from typer.main import get_command

from benchmarks.__main__ import BENCHMARKS
from harness.cli import app

ROOT = Path(__file__).parents[3]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").glob("*.md"),
    ]
}
OTHERS_FILES = "\n## Public files, unchanged\n"
"""below it a page names files of other repositories"""
OWN = {name: text.partition(OTHERS_FILES)[0] for name, text in PAGES.items()}
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("harness", "benchmarks", "target_app", "scenarios", "experiments")
    for kind in ("*.py", "*.toml")
    for path in (ROOT / folder).rglob(kind)
}
FOLDERS = "harness|target_app|tests|benchmarks|experiments|scenarios|notebooks|docs"
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
LOCUSTS_EVENTS = {"test_start", "test_stopping", "test_stop"}
GENERATED = "docs/findings.md"
SCHEMA = json.loads((ROOT / "experiments" / "poolbench.schema.json").read_text())


def test_every_file_that_is_named_exists() -> None:
    named = re.compile(rf"(?<![\w/.-])(?:{FOLDERS})/[\w/-]+\.(?:py|toml|md|jsonl?|ipynb|ya?ml)\b")
    all_named = [(page, path) for page, text in (OWN | SOURCES).items() for path in named.findall(text)]
    assert [each for each in all_named if not (ROOT / each[1]).exists()] == []


@pytest.mark.parametrize("page", sorted(OWN))
def test_every_module_and_name_in_it_exists(page: str) -> None:
    for dotted in re.findall(r"\bharness(?:\.\w+)+", OWN[page]):
        module, _, name = dotted.rpartition(".")
        assert hasattr(importlib.import_module(module), name) or importlib.import_module(dotted), dotted


@pytest.mark.parametrize("page", sorted(OWN))
def test_every_test_and_benchmark_exists(page: str) -> None:
    tests = set(re.findall(r"`(test_\w+)`", OWN[page])) - LOCUSTS_EVENTS
    assert [name for name in tests if f"def {name}(" not in TESTS] == []
    assert set(re.findall(r"python -m benchmarks (\w+)", OWN[page])) <= {*BENCHMARKS, "all"}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_command_has_the_options_it_is_shown_with(page: str) -> None:
    for command, rest in re.findall(r"(?:^\$ |`)poolbench ([a-z]+)((?: [^`\n#]*)?)", PAGES[page], re.MULTILINE):
        told = COMMANDS[command]
        nested = getattr(told, "commands", {})
        parameters = [*told.params, *(each for own in nested.values() for each in own.params)]
        known = {option for each in parameters for option in each.opts} | {"--help"}
        assert set(re.findall(r"(?<= )--[a-z-]+", rest)) <= known, f"poolbench {command}{rest}"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_key_of_an_experiment_that_is_shown_is_one(page: str) -> None:
    partial = jsonschema_rs.validator_for({**SCHEMA, "required": []})
    for text in re.findall(r"```toml\n(.*?)```", PAGES[page], re.DOTALL):
        shown = tomllib.loads(text)
        if "services" not in shown:  # a file of `poolbench budget`
            partial.validate(shown)


def anchors(text: str) -> set[str]:
    """The headings of a page as GitHub links to them, and those it names itself."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_heading_that_is_linked_exists(page: str) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", PAGES[page]):
        target = (ROOT / page).parent / link if link else ROOT / page
        assert anchor in anchors(target.read_text()), f"{link}#{anchor}"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_row_of_a_table_has_its_heads_cells(page: str) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", PAGES[page], re.MULTILINE):
        head, *rows = table.splitlines()
        assert [row for row in rows if bars(row) != bars(head)] == []


def bars(row: str) -> int:
    """The bars of a table's row that are not code."""
    return len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row)))


def test_no_passage_stands_twice() -> None:
    texts = [re.sub(r"```.*?```", "", text, flags=re.DOTALL) for page, text in PAGES.items() if page != GENERATED]
    passages = Counter(part.strip() for text in texts for part in re.split(r" \| |\. |\n", text) if len(part) > 70)
    assert [passage for passage, count in passages.items() if count > 1] == []


def test_every_room_has_its_row() -> None:
    table = OWN["CONTRIBUTING.md"].partition("## Where things are")[2]
    modules = [each for each in (ROOT / "harness").iterdir() if each.suffix in {"", ".py"} and each.name[0] != "_"]
    assert {"run.py", "plan"} <= {each.name for each in modules}
    rooms = [f"{each.name}{'/' if each.is_dir() else ''}" for each in modules]
    assert [room for room in rooms if f"`{room}`" not in table and f"`harness/{room}`" not in table] == []


def test_every_key_of_json_is_described() -> None:
    described = OWN["docs/formats.md"].partition("## `--json` of `run` and `report`")[2]
    keys = {key for name in ("as_dict", "_cell") for key in keys_of("harness/present/summary_json.py", name)}
    assert {"run_id", "cells", "binding"} <= keys
    unsaid = {key for key in keys if f"`{key}`" not in described}
    assert sorted(unsaid - keys_of("harness/analyse/tables.py", "_figures")) == []


def test_every_column_of_the_summary_is_described() -> None:
    described = OWN["docs/formats.md"].partition("### `summary.csv`")[2].partition("\n## ")[0]
    columns = keys_of("harness/analyse/tables.py", "_figures")
    assert {"p95_ms", "slo_met"} <= columns
    latencies = {each for each in columns if re.match(r"p\d\d_", each)}
    assert sorted(each for each in columns - latencies if f"`{each}`" not in described) == []


def keys_of(module: str, function: str) -> set[str]:
    """The keys of the dictionary that a function of a module returns."""
    body = SOURCES[module].partition(f"def {function}(")[2].partition("\ndef ")[0]
    return set(re.findall(r'^        "(\w+)":', body, re.MULTILINE))
