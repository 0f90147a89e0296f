"""Files beside the code that would fall behind it: the compose file's settings, the image's pinned versions."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from target_app.settings import Settings

ROOT = Path(__file__).parents[3]
PIN = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)", re.MULTILINE)


def test_every_setting_of_the_service_can_be_given_to_its_container() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    app = compose[compose.index("\n  app:\n") : compose.index("\n  role:\n")]
    given = set(re.findall(r"^      ([A-Z_]+):", app, re.MULTILINE)) | {"DATABASE_URL"}
    assert given == {name.upper() for name in Settings.model_fields}


def test_the_service_waits_for_a_healthy_server_and_migrations_are_a_step_of_their_own() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert services["app"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert "pg_isready" in services["db"]["healthcheck"]["test"][1]
    assert services["migrate"]["profiles"] == ["migrate"]  # never started by `up`
    assert "migrate" not in services["app"]["depends_on"]


def test_the_image_pins_the_versions_that_are_tested() -> None:
    everything = set(PIN.findall((ROOT / "requirements.lock").read_text()))
    app = PIN.findall((ROOT / "target_app" / "requirements.lock").read_text())
    assert set(app) <= everything
    wanted = re.findall(r"^([a-z0-9-]+)", (ROOT / "target_app" / "requirements.in").read_text(), re.MULTILINE)
    assert len(wanted) >= 10
    assert set(wanted) <= {name for name, _ in app}


def test_the_image_gets_what_the_project_names_for_the_service() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    block = project[project.index("# the service under test") : project.index("# load")]
    named = set(re.findall(r'^ +"([a-z0-9-]+)', block, re.MULTILINE))
    listed = (ROOT / "target_app" / "requirements.in").read_text()
    assert "fastapi" in named
    assert set(re.findall(r"^([a-z0-9-]+)", listed, re.MULTILINE)) == named
