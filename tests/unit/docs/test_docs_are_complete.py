"""Docs that fall behind fail here: every command, option, scenario and experiment is described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from harness.cli import app

ROOT = Path(__file__).parents[3]
DOCS = "\n".join(p.read_text() for p in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
SCENARIOS = sorted(p.stem for p in (ROOT / "scenarios").glob("[!_]*.py"))
EXPERIMENTS = sorted(p.stem for p in (ROOT / "experiments").glob("*.toml"))
TARGETS = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_described(command: str) -> None:
    assert f"poolbench {command}" in DOCS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_is_described(command: str) -> None:
    described = (ROOT / "docs" / "cli.md").read_text()
    for parameter in COMMANDS[command].params:
        for option in parameter.opts:
            assert not option.startswith("--") or f"`{option}" in described


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_is_described(scenario: str) -> None:
    assert re.search(rf"`{scenario}`", DOCS)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_described(experiment: str) -> None:
    assert re.search(rf"{experiment}(\.toml)?`", DOCS)


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_is_described(target: str) -> None:
    assert f"make {target}" in DOCS


def test_the_lists_are_not_empty() -> None:
    assert {"run", "plan", "report", "init", "doctor"} <= set(COMMANDS)
    assert {"read_heavy", "write_heavy", "mixed", "list_pages"} <= set(SCENARIOS)
    assert {"quickstart", "pool_size", "drivers", "expire_on_commit"} <= set(EXPERIMENTS)
    assert {"demo", "test", "check", "bench", "clean"} <= set(TARGETS)


def test_no_link_in_the_docs_leads_nowhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
