"""Shipped files and the user's own, by name and by path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.errors import InfrastructureError, UsageError
from harness.plan import experiment_path, load_experiment, locate, resolve_scenario, shipped, shipped_names


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder as a wheel unpacks it, with two scenarios and a helper; returns the project using it."""
    scenarios = tmp_path / "site" / "harness" / "shipped" / "scenarios"
    scenarios.mkdir(parents=True)
    for name in ("mixed", "read_heavy", "_helper", "__init__"):
        (scenarios / f"{name}.py").touch()
    monkeypatch.setattr(locate, "__file__", str(tmp_path / "site" / "harness" / "plan" / "locate.py"))
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    monkeypatch.chdir(project)
    return project


def test_a_wheel_carries_its_own(installed: Path) -> None:
    assert shipped("scenarios") == installed.parent / "site" / "harness" / "shipped" / "scenarios"
    assert shipped_names("scenarios") == ("mixed", "read_heavy")
    with pytest.raises(InfrastructureError, match="has no experiments"):
        shipped("experiments")


def test_the_checkout_has_its_own_at_the_top() -> None:
    assert shipped("experiments") == Path(__file__).resolve().parents[3] / "experiments"


def test_a_scenario_is_a_shipped_name_or_a_path(installed: Path) -> None:
    (installed / "sub" / "beside.py").touch()
    (installed / "here.py").touch()
    assert resolve_scenario("mixed", installed).name == "mixed.py"
    assert resolve_scenario("beside.py", installed / "sub") == installed / "sub" / "beside.py"
    assert resolve_scenario("here.py", installed / "sub") == installed / "here.py"
    assert resolve_scenario(str(installed / "here.py"), installed / "sub") == installed / "here.py"


def test_an_unknown_scenario_is_answered_with_what_is_shipped(installed: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_scenario("mixd", installed / "sub")
    assert caught.value.cause == (
        f"The scenario 'mixd' is neither shipped nor a file in {installed / 'sub'} or {installed}."
    )
    assert caught.value.next_step == "Shipped scenarios are mixed, read_heavy. Did you mean 'mixed'?"


def test_an_experiment_is_a_file_a_shipped_name_or_the_quickstart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert experiment_path(None) == shipped("experiments") / "quickstart.toml"
    assert experiment_path(Path("drivers")) == shipped("experiments") / "drivers.toml"
    (tmp_path / "drivers").write_text("")
    assert experiment_path(Path("drivers")) == Path("drivers")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b'\xef\xbb\xbfschema_version = 1\r\nname = "x"\r\n[load]\r\nrate_rps = 5\r\n')
    assert load_experiment(file).load.rate_rps == 5


SERVICE = 'schema_version = 1\nname = "one"\n[load]\nrate_rps = 1\n[target]\napp = "shop:app"\n'


def test_a_services_folder_and_interpreter_are_seen_from_the_experiment(tmp_path: Path) -> None:
    """A virtual environment's interpreter is a link, and is one only under its own name."""
    (tmp_path / "service" / "bin").mkdir(parents=True)
    (tmp_path / "service" / "bin" / "python").symlink_to(sys.executable)
    file = tmp_path / "experiments" / "one.toml"
    file.parent.mkdir()
    file.write_text(SERVICE + 'dir = "../service"\npython = "../service/bin/python"\n')
    target = load_experiment(file).target
    assert (target.dir, target.python) == (str(tmp_path / "service"), str(tmp_path / "service" / "bin" / "python"))


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ('dir = "nowhere"', r"one.toml:7: the service's folder .*/nowhere does not exist"),
        ('python = "nowhere/python"', r"one.toml:7: there is no interpreter .*/nowhere/python"),
        ('python = "one.toml"', r"one.toml:7: there is no interpreter"),
    ],
)
def test_what_a_service_does_not_have_is_said_with_its_line(tmp_path: Path, line: str, cause: str) -> None:
    file = tmp_path / "one.toml"
    file.write_text(f"{SERVICE}{line}\n")
    with pytest.raises(UsageError, match=cause):
        load_experiment(file)
