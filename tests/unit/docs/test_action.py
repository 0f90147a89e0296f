"""The composite action in the docs: as GitHub's metadata syntax wants it, with nothing in it that does not exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from typer.main import get_command

from harness.cli import app
from harness.plan import parse_experiment
from harness.strategies import comparison

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "action" / "action.yml").read_text()
ACTION: Any = yaml.safe_load(TEXT)
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]

# what a composite action may hold: docs.github.com/actions/creating-actions/metadata-syntax-for-github-actions
NAME = {"type": "string", "pattern": "^[_a-zA-Z][a-zA-Z0-9_-]*$"}
TEXTS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
COMMON = {"name": {"type": "string"}, "id": NAME, "if": {"type": "string"}, "env": TEXTS}
METADATA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["name", "description", "runs"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "author": {"type": "string"},
        "description": {"type": "string"},
        "branding": {"type": "object"},
        "inputs": {
            "type": "object",
            "propertyNames": NAME,
            "additionalProperties": {
                "type": "object",
                "required": ["description"],
                "additionalProperties": False,
                "properties": {
                    "description": {"type": "string"},
                    "required": {"type": "boolean"},
                    "default": {"type": "string"},
                    "deprecationMessage": {"type": "string"},
                },
            },
        },
        "outputs": {
            "type": "object",
            "propertyNames": NAME,
            "additionalProperties": {
                "type": "object",
                "required": ["description", "value"],
                "additionalProperties": False,
                "properties": {"description": {"type": "string"}, "value": {"type": "string"}},
            },
        },
        "runs": {
            "type": "object",
            "required": ["using", "steps"],
            "additionalProperties": False,
            "properties": {
                "using": {"const": "composite"},
                "steps": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "oneOf": [
                            {
                                "type": "object",
                                "required": ["run", "shell"],
                                "additionalProperties": False,
                                "properties": {
                                    **COMMON,
                                    "run": {"type": "string"},
                                    "shell": {"type": "string"},
                                    "working-directory": {"type": "string"},
                                    "continue-on-error": {"type": ["boolean", "string"]},
                                },
                            },
                            {
                                "type": "object",
                                "required": ["uses"],
                                "additionalProperties": False,
                                "properties": {
                                    **COMMON,
                                    "uses": {"type": "string", "pattern": r"^[\w.-]+/[\w./-]+@[\w.-]+$"},
                                    "with": TEXTS,
                                    "continue-on-error": {"type": ["boolean", "string"]},
                                },
                            },
                        ]
                    },
                },
            },
        },
    },
}


def test_it_is_a_composite_action() -> None:
    jsonschema_rs.validator_for(METADATA).validate(ACTION)


@pytest.mark.parametrize("taken", ["shell", "run"])
def test_a_step_that_lacks_something_would_be_found(taken: str) -> None:
    steps = [{key: value for key, value in step.items() if key != taken} for step in STEPS]
    assert not jsonschema_rs.validator_for(METADATA).is_valid({**ACTION, "runs": {**ACTION["runs"], "steps": steps}})


def test_what_is_asked_for_is_declared() -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", TEXT))
    assert used == set(ACTION["inputs"])
    for step_id in re.findall(r"steps\.([\w-]+)\.outputs", TEXT):
        (step,) = [step for step in STEPS if step.get("id") == step_id]
        for name in re.findall(rf"steps\.{step_id}\.outputs\.([\w-]+)", TEXT):
            assert f"{name}=" in step["run"]


def test_no_input_is_pasted_into_a_script() -> None:
    """What a pull request names would be run; as a variable it is only text."""
    assert [step["name"] for step in STEPS if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("step", [step for step in STEPS if "run" in step], ids=lambda step: step["name"])
def test_its_scripts_are_sound(step: dict[str, Any]) -> None:
    done = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, value in step.get("env", {}).items():
        assert f"${name}" in step["run"], f"{name} = {value} is not used"


def test_commands_and_options_are_those_that_there_are() -> None:
    (script,) = [step["run"] for step in STEPS if step.get("id") == "gate"]
    commands = get_command(app).commands  # type: ignore[attr-defined]
    asked = dict(re.findall(r'"\$poolbench" (\w+)([^\n]*)', script))
    assert set(asked) == {"gate", "report"}
    options = {name: {option for each in commands[name].params for option in each.opts} for name in asked}
    assert set(re.findall(r"--[a-z]+", asked["report"])) <= options["report"]
    gate = re.findall(r"--[a-z]+", "".join(line for line in script.splitlines(keepends=True) if "options" in line))
    assert set(gate) == {"--results", "--junit", "--markdown", "--set"}
    assert set(gate) <= options["gate"]


def test_the_experiment_in_the_docs_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", (DOCS / "gate.md").read_text(), re.DOTALL)
    sides = comparison(parse_experiment(text, source="gate.md"))
    assert sides.arms["base"]["target.ref"] == "origin/main"


def test_the_workflow_in_the_docs_uses_it() -> None:
    page = (DOCS / "gate.md").read_text()
    (workflow,) = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    checkout, used = workflow["jobs"]["gate"]["steps"]
    assert checkout["with"]["fetch-depth"] == 0
    assert set(used["with"]) <= set(ACTION["inputs"])
    assert {name for name, each in ACTION["inputs"].items() if each.get("required")} <= set(used["with"])
