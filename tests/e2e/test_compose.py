"""docker-compose.yml, brought up for real: built, migrated, asked over HTTP, loaded by Locust, and torn down."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from harness.store import RunStore

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]  # two images are built first


@dataclass(frozen=True, kw_only=True)
class Compose:
    """One project of its own name, port and volumes."""

    program: Sequence[str]
    project: str
    environment: Mapping[str, str]

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> str:
        done = subprocess.run(
            [*self.program, "--project-name", self.project, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def request(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.environment['APP_PORT']}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def container(self, service: str) -> Any:
        """The service's container, running or not, as the engine describes it."""
        label = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        client = docker.from_env(timeout=30)
        try:
            (found,) = client.containers.list(all=True, filters={"label": label})
            return found.attrs
        finally:
            client.close()

    def wait_healthy(self, service: str) -> None:
        deadline = time.monotonic() + 60
        while self.container(service)["State"]["Health"]["Status"] != "healthy":
            assert time.monotonic() < deadline, self("logs", service)
            time.sleep(0.2)

    def exit_code(self, service: str) -> int:
        """Of a container that ends by itself."""
        deadline = time.monotonic() + 120
        while (state := self.container(service)["State"])["Status"] != "exited":
            assert time.monotonic() < deadline, self("logs", service)
            time.sleep(0.2)
        return int(state["ExitCode"])


def compose_program() -> Sequence[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ("docker", "compose") if plugin.returncode == 0 else (shutil.which("docker-compose") or "docker-compose",)


def free_port() -> int:
    """A port below those that the system gives to connections: it is wanted when the images are built, a minute after
    it is chosen, and tests beside this one open connections all the time."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(15_000, 30_000)))
            return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def compose(container_image: str, python_image: str) -> Iterator[Compose]:
    """The project with its images built, its database migrated and the service up."""
    compose = Compose(
        program=compose_program(),
        project=f"poolbench-test-{secrets.token_hex(4)}",
        environment={
            "BASE_IMAGE": python_image,
            "POSTGRES_IMAGE": container_image,
            "APP_IMAGE": "poolbench-ci/app",
            "POOLBENCH_IMAGE": "poolbench-ci/poolbench",
            "APP_PORT": str(free_port()),
            "LOCUST_PORT": str(free_port()),
            "POSTGRES_PASSWORD": "not-the-default",
            "HARNESS_PASSWORD": "it's-another",
            "ROWS": "500",
            "POOL_SIZE": "3",
        },
    )
    try:
        compose("build", "app", "harness")
        compose("run", "--rm", "migrate")
        compose("up", "-d", "app")
        compose.wait_healthy("app")
        yield compose
    finally:
        compose("--profile", "locust", "--profile", "harness", "down", "--volumes", "--remove-orphans")


def test_the_database_was_healthy_before_the_service_started(compose: Compose) -> None:
    database, app = compose.container("db"), compose.container("app")
    passed = [check["End"] for check in database["State"]["Health"]["Log"] if check["ExitCode"] == 0]
    assert database["State"]["Health"]["Status"] == "healthy"
    assert passed
    assert database["State"]["StartedAt"] < app["State"]["StartedAt"]


def test_a_hero_outlives_the_containers(compose: Compose) -> None:
    hero = {"name": "Ørsted", "secret_name": "Hans", "password": "electromagnetism", "age": 73}
    made = compose.request("POST", "/heroes", hero)
    assert made["name"] == "Ørsted"
    assert not {"secret_name", "password", "hashed_password"} & set(made)
    compose("down")
    compose("up", "-d", "app")
    compose.wait_healthy("app")
    assert compose.request("GET", f"/heroes/{made['id']}") == made


def test_the_service_runs_without_privileges(compose: Compose) -> None:
    app = compose.container("app")
    assert app["Config"]["User"] == "10001:10001"
    assert app["HostConfig"]["ReadonlyRootfs"] is True
    assert compose("exec", "-T", "app", "id", "-u").strip() == "10001"
    assert "POOL_SIZE=3" in app["Config"]["Env"]


def test_the_image_holds_the_service_and_nothing_of_the_harness(compose: Compose) -> None:
    names = ("target_app", "harness", "locust", "pandas")
    look = f"from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"
    assert compose("exec", "-T", "app", "python3", "-c", look).strip() == "['target_app']"


def test_locust_master_and_workers_load_the_service(compose: Compose) -> None:
    load = {
        "LOCUST_HEADLESS": "true",
        "LOCUST_EXPECT_WORKERS": "2",
        "LOCUST_USERS": "4",
        "LOCUST_RUN_TIME": "3s",
    }
    compose("--profile", "locust", "up", "-d", "--scale", "locust-worker=2", **load)
    code = compose.exit_code("locust-master")
    log = compose("--profile", "locust", "logs", "locust-master")
    assert code == 0, log
    assert "2 workers" in log or log.count("reported as ready") == 2, log
    assert "0(0.00%)" in log


LENT = """\
schema_version = 1
name = "lent"

[target]
url = "http://127.0.0.1:{app_port}"

[load]
scenario = "read_heavy"
rate_rps = 30
warmup_s = 0.5
measure_s = 1.0
workers = {{ expect = 1, bind = "127.0.0.1:{port}" }}

[design]
kind = "blocked"
launches = 1

[database]
rows = 500
"""


def test_the_worker_profile_lends_a_machine_to_a_run(compose: Compose, poolbench) -> None:
    port = free_port()
    experiment = LENT.format(app_port=compose.environment["APP_PORT"], port=port)
    compose("--profile", "worker", "up", "-d", "worker", COORDINATOR=f"127.0.0.1:{port}")
    try:
        done = poolbench("run", poolbench.write("lent.toml", experiment), "--json")
        log = compose("--profile", "worker", "logs", "worker")
    finally:
        compose("--profile", "worker", "rm", "--force", "--stop", "worker")
    assert done.returncode in (0, 4), done.stdout + done.stderr + log  # 4: a busy machine
    trial = RunStore.open(Path(json.loads(done.stdout)["run"])).read().trials[-1]  # two where an instrument failed
    assert (trial.requests["outcome"] == "ok").all(), log
    assert len(trial.requests) > 10
    assert "lost_worker" not in done.stdout


def test_the_harness_measures_with_the_same_server(compose: Compose) -> None:
    settings = ["database.provider=url", "target.driver=asyncpg", "pool.pool_size=2,5", "load.rate_rps=20"]
    settings += ["design.launches=1", "load.warmup_s=0.5", "load.measure_s=1.0", "database.rows=500"]
    settings += ["target.start_timeout_s=120"]
    command = ["run", "experiments/quickstart.toml", *(part for each in settings for part in ("--set", each))]
    check = (
        'poolbench "$@"; code=$?; [ $code = 0 ] || [ $code = 4 ] || exit $code; '  # 4: a busy machine
        'grep -ho \'"app_role": "[a-z]*"\' results/*/run.json; ls results/*/report.html'
    )
    shown = compose("run", "--rm", "--entrypoint", "sh", "harness", "-c", check, "sh", *command)
    assert "pool_size 5" in shown
    assert shown.strip().endswith("/report.html")
    assert '"app_role": "ordinary"' in shown
    query = "SELECT count(*) FROM pg_database WHERE datname ~ '^poolbench_[0-9a-f]{4}_'"
    ask = 'PGPASSWORD="$POSTGRES_PASSWORD" psql -h 127.0.0.1 -U "$POSTGRES_USER" -tAc "$0"'
    left = compose("exec", "-T", "db", "sh", "-c", ask, query)
    assert left.strip() == "0"
