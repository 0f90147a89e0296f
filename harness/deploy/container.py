"""Postgres in a Docker container, by testcontainers."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from harness.deploy import leftovers
from harness.deploy.connection import Address, Connection, connect, describe, told
from harness.deploy.embedded import DEFAULTS
from harness.deploy.leftovers import Owner, current_owner
from harness.deploy.provider import Settings, blaming, end_error, setting_text, start_error
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError

if TYPE_CHECKING:
    from docker import DockerClient  # docker ships no types

OWNER_LABEL = "poolbench.owner"
_PING_TIMEOUT_S = 3
_START_TIMEOUT_S = 60.0
_NOTICED_WITHIN_S = 2.0
"""a container's end; its port goes on taking connections meanwhile"""
_SHARED_MEMORY = "512m"  # Docker's 64 MB are too few for parallel queries
_USER = "poolbench"


class ContainerProvider:
    """Takes the image of the specification; settings travel on the server's command line."""

    @contextmanager
    def start(self, spec: DatabaseSpec) -> Iterator[Server]:
        remove_containers()
        with leftovers.remembered(), _container(spec) as container:
            at = _address(container)
            with told(at), contextlib.closing(_wait_ready(container, at, spec)) as connection:
                server = describe(connection, at, provider="container", owned=True, source=spec.image)
            with blaming(lambda: _end(container, spec)):
                yield replace(server, pid=_postmaster_pid(container))


def server_command(settings: Settings) -> list[str]:
    """The command line of the container: our defaults, then the experiment's settings."""
    merged = {**DEFAULTS, **settings}
    return ["postgres", *(part for name, value in merged.items() for part in ("-c", f"{name}={setting_text(value)}"))]


@contextmanager
def _engine() -> Iterator[DockerClient]:
    """A client of an engine that answers; asked first, because testcontainers can wait for one without end."""
    import docker
    from docker.errors import DockerException  # docker ships no types

    try:
        client = docker.from_env(timeout=_PING_TIMEOUT_S)
        client.ping()
    except (DockerException, OSError) as error:  # requests' errors are OSErrors
        raise InfrastructureError(
            f"No Docker engine answers within {_PING_TIMEOUT_S} s: {str(error).splitlines()[0].rstrip('.')}.",
            next_step='Start Docker (or set DOCKER_HOST), or use [database] provider = "embedded", which needs none.',
        ) from error
    with contextlib.closing(client):
        yield client


def docker_problem() -> str | None:
    """Why no container can be started here; None when an engine answers."""
    try:
        with _engine():
            return None
    except InfrastructureError as error:
        return error.cause


def remove_containers() -> None:
    """Remove the containers of runs that are gone, by their label. Raises InfrastructureError without an engine."""
    from docker.errors import APIError

    with _engine() as engine:
        for container in engine.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
            owner = Owner.from_text(container.labels[OWNER_LABEL])
            if owner is not None and owner.is_gone():
                with contextlib.suppress(APIError):  # another start or a guard is removing it, too
                    container.remove(force=True, v=True)


@contextmanager
def _container(spec: DatabaseSpec) -> Iterator[Any]:
    from docker.errors import DockerException
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.core.config import testcontainers_config

    class Postgres(PostgresContainer):
        def _connect(self) -> None:
            """Nothing: testcontainers would wait two minutes for a server that refused a setting and is gone."""

    # Leftovers are ours to clear, by label; Ryuk would be a second image to pull, so it runs only when asked for.
    if "TESTCONTAINERS_RYUK_DISABLED" not in os.environ:
        testcontainers_config.ryuk_disabled = True
    container = Postgres(spec.image, username=_USER, password=secrets.token_urlsafe(18), dbname="postgres", driver=None)
    container.with_command(server_command(spec.settings))
    container.with_kwargs(labels={OWNER_LABEL: current_owner().to_text()}, shm_size=_SHARED_MEMORY)
    try:
        try:
            container.start()
        except DockerException as error:  # of the start alone: what the block raises is its own affair
            raise InfrastructureError(
                f"Docker could not run {spec.image}: {str(error).splitlines()[0].rstrip('.')}.",
                next_step=f'Check the image\'s name and that "docker pull {spec.image}" works.',
            ) from error
        yield container
    finally:
        container.stop()


def _address(container: Any) -> Address:
    return Address(
        host=container.get_container_host_ip().replace("localhost", "127.0.0.1"),
        port=int(container.get_exposed_port(container.port)),
        user=container.username,
        password=container.password,
        maintenance_database=container.dbname,
    )


def _wait_ready(container: Any, at: Address, spec: DatabaseSpec) -> Connection:
    """A connection, as soon as the server takes one. While the image sets itself up it listens on a socket only."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            return connect(at)
        except psycopg.OperationalError:
            log = _log_of_ended(container)
            if log is not None:
                raise start_error(log, spec.settings, where=spec.image) from None
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"Postgres in a container of {spec.image} did not come up within {_START_TIMEOUT_S:.0f} s.",
                    next_step="Its last log lines are below.",
                    detail="\n".join(container.get_wrapped_container().logs().decode().splitlines()[-20:]),
                ) from None
            time.sleep(0.1)


def _log_of_ended(container: Any) -> Sequence[str] | None:
    wrapped = container.get_wrapped_container()
    wrapped.reload()
    return wrapped.logs().decode(errors="replace").splitlines() if wrapped.status in ("exited", "dead") else None


def _end(container: Any, spec: DatabaseSpec) -> InfrastructureError | None:
    from docker.errors import DockerException

    deadline_s = time.monotonic() + _NOTICED_WITHIN_S
    try:
        while (log := _log_of_ended(container)) is None and time.monotonic() < deadline_s:
            time.sleep(0.1)
        code = int(container.get_wrapped_container().attrs["State"]["ExitCode"])
    except (DockerException, OSError):  # the engine itself is gone: what failed says so
        return None
    # an engine gives 128 and the signal, as a shell does
    return None if log is None else end_error(128 - code if code > 128 else code, log, where=spec.image)


def _postmaster_pid(container: Any) -> int | None:
    """The container's first process as this machine numbers it; None when the engine is elsewhere, in a VM say."""
    wrapped = container.get_wrapped_container()
    wrapped.reload()
    pid = int(wrapped.attrs["State"]["Pid"])
    try:
        return pid if psutil.Process(pid).name() == "postgres" else None
    except (psutil.Error, ValueError):
        return None
