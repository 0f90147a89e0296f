"""Schemathesis asks the running service what its OpenAPI schema allows and what it does not: nothing is a 5xx."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from target_app.prepare import prepare
from target_app.settings import Settings

pytestmark = pytest.mark.postgres

EXAMPLES = 10
"""for each operation"""
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


@pytest.fixture
def base_url(scratch_database: str) -> Iterator[str]:
    """The service as it is deployed, without the lab, whose endpoints take as long as they are told.

    With a database of its own: every row is fair game.
    """
    asyncio.run(prepare(Settings(database_url=scratch_database), rows=20))
    environment = {**os.environ, "DATABASE_URL": scratch_database, "DELETE_MODE": "hard"}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        command = [sys.executable, "-m", "uvicorn", "--factory", "target_app.main:create_app", "--log-level", "warning"]
        server = subprocess.Popen(
            [*command, "--fd", str(listener.fileno())], env=environment, pass_fds=[listener.fileno()]
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.kill()
            server.wait()


def test_no_request_makes_the_service_fail(base_url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{base_url}/openapi.json", wait_for_schema=30)
    asked = 0
    with requests.Session() as session:
        for result in schema.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()

            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def ask(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(session=session, checks=CHECKS)

            ask()
            asked += 1

    assert asked == 12
