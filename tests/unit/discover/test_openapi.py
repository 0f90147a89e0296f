"""An OpenAPI document as operations, and a scenario and an experiment made of them."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import plan
from harness.discover.openapi import operations_of
from harness.domain.discovered import Discovered, Operation, Sources
from harness.domain.observed import AppliedPool
from harness.scaffold import chosen_for, experiment_text, scenario_text, sizes_around, target_text

ORDER_ID: dict[str, Any] = {"name": "order_id", "in": "path", "required": True, "schema": {"type": "integer"}}
ENGINE = AppliedPool(
    launch_id="b1-c1",
    pid=7,
    driver="asyncpg",
    pool_class="AsyncAdaptedQueuePool",
    pool_size=8,
    max_overflow=4,
    pool_timeout_s=30.0,
    pool_recycle_s=-1,
    pool_pre_ping=False,
    pool_use_lifo=False,
)


def found(*operations: Operation, **changes: Any) -> Discovered:
    usual: dict[str, Any] = {"sources": Sources(), "engines": (ENGINE,), "health_path": "/health"}
    return Discovered(**usual | changes, operations=operations)


def got(path: str, status: int | None = 200, **changes: Any) -> Operation:
    usual: dict[str, Any] = {"method": "get", "path": path, "url": path, "status": status}
    return Operation(**usual | changes)


@pytest.mark.parametrize(
    ("parameters", "url", "lacks"),
    [
        ([ORDER_ID], None, ("order_id",)),
        ([ORDER_ID | {"example": 7}], "/orders/7", ()),
        ([ORDER_ID | {"schema": {"examples": ["a b"]}}], "/orders/a%20b", ()),
        ([ORDER_ID | {"examples": {"first": {"value": 3}}}], "/orders/3", ()),
        (
            [ORDER_ID | {"example": 7}, {"name": "q", "in": "query", "required": True, "schema": {"enum": ["x y"]}}],
            "/orders/7?q=x+y",
            (),
        ),
        ([ORDER_ID | {"example": 7}, {"name": "q", "in": "query"}], "/orders/7", ()),
        ([ORDER_ID | {"example": 7}, {"name": "x-key", "in": "header", "required": True}], None, ("x-key",)),
    ],
)
def test_what_is_required_is_filled_from_the_document_or_named(
    parameters: list[Any], url: str | None, lacks: tuple[str, ...]
) -> None:
    document = {"paths": {"/orders/{order_id}": {"get": {"parameters": parameters}}}}
    assert operations_of(document) == (Operation(method="get", path="/orders/{order_id}", url=url, lacks=lacks),)


@pytest.mark.parametrize(
    "document", [None, [], {}, {"paths": []}, {"paths": {"/a": None}}, {"paths": {"/a": {"get": 1}}}]
)
def test_what_is_no_such_document_has_no_operations(document: Any) -> None:
    assert operations_of(document) == ()


def test_a_scenario_sends_what_answered_and_leaves_the_rest_to_be_filled_in() -> None:
    text = scenario_text(
        found(
            got("/health"),
            got("/orders"),
            got("/orders/{id}", url="/orders/7"),
            got("/secret", 401),
            got("/things/{id}", None, url=None, lacks=("id",)),
            Operation(method="post", path="/orders", url="/orders"),
        )
    )
    ast.parse(text)
    code = [line for line in text.splitlines() if "self.client" in line]
    assert code == [
        "        self.client.get('/orders')",
        "        self.client.get('/orders/7', name='/orders/{id}')",
        "    #     self.client.get('/secret')",
        "    #     self.client.get('/things/{id}')",
        "    #     self.client.post('/orders', json={})",
    ]
    for reason in ("answered 401 when it was tried", "needs id", "changes data"):
        assert f"# TODO: {reason}" in text


@pytest.mark.parametrize(("has_alembic", "sent"), [(True, "/orders"), (False, "/health")])
def test_what_failed_for_want_of_tables_is_sent_where_migrations_make_them(has_alembic: bool, sent: str) -> None:
    text = scenario_text(found(got("/health"), got("/orders", 500), sources=Sources(has_alembic=has_alembic)))
    assert f"        self.client.get('{sent}')" in text


def test_without_anything_to_send_the_health_path_stands_for_it() -> None:
    text = scenario_text(found(got("/health"), got("/secret", 401)))
    assert "        self.client.get('/health')" in text
    assert "# TODO: replace this one" in text


@pytest.mark.parametrize(
    ("size", "overflow", "sizes"),
    [
        (8, 4, (4, 8, 12, 16)),
        (5, 10, (2, 5, 10, 15)),
        (1, 0, (1, 2)),
        (20, -1, (10, 20, 40)),
        (None, None, (5, 10, 20)),
    ],
)
def test_sizes_lie_around_the_service_s_own(size: int | None, overflow: int | None, sizes: tuple[int, ...]) -> None:
    assert sizes_around(found(engines=(replace(ENGINE, pool_size=size, max_overflow=overflow),))) == sizes


def test_where_there_is_a_pool_of_the_drivers_own_alone_no_setting_of_a_pool_is_written() -> None:
    raw = found(engines=(), driver_pools=("asyncpg.Pool of 4 to 4, made in db.py:7",))
    assert sizes_around(replace(raw, engines=(replace(ENGINE, pool_size=None),))) == (5, 10, 20)
    text = experiment_text("pool", sizes=sizes_around(raw), chosen=chosen_for(raw, {"app": "main:app"}, "x.py"))
    experiment = plan.parse_experiment(text, source="pool.toml")
    assert experiment.matrix == {}
    assert not [key for key in experiment.named if key.startswith("pool.")]
    assert '\n# target.env.NAME = ["5", "10", "20"]' in text


def test_the_experiment_is_valid_and_has_what_was_found(tmp_path: Path) -> None:
    sources = Sources(env={"DB_HOST": "{db_host}", "DB_PORT": "{db_port}"}, has_alembic=True)
    target = {"app": "main:app", "env": {"DB_PORT": "1", "KEY.x": 'a "b"'}}
    chosen = chosen_for(found(sources=sources, health_path="/ready"), target, "pool_scenario.py")
    text = experiment_text("pool", sizes=(4, 8), chosen=chosen, found=("engine 1: asyncpg",))
    experiment = plan.parse_experiment(text, source="pool.toml")
    assert experiment.matrix == {"pool.pool_size": (4, 8)}
    assert experiment.target.env == {"DB_HOST": "{db_host}", "DB_PORT": "1", "KEY.x": 'a "b"'}
    assert (experiment.target.app, experiment.target.health_path) == ("main:app", "/ready")
    assert (experiment.load.scenario, experiment.load.rate) == ("pool_scenario.py", "40%")
    assert experiment.database.prepare == ("{python}", "-m", "alembic", "upgrade", "head")
    assert "\n# engine 1: asyncpg\n" in text
    assert "\n# yours keeps its own where nothing is set. Check it with: " in text
    assert "yours keeps" not in experiment_text("pool"), "of the reference service they are the defaults"


def test_without_a_health_check_the_document_itself_tells_that_it_is_up() -> None:
    elsewhere = found(got("/a"), health_path=None, openapi_path="/api/openapi.json")
    assert chosen_for(elsewhere, {}, "x.py")["target"]["health_path"] == "/api/openapi.json"
    assert "health_path" not in chosen_for(found(health_path=None), {}, "x.py")["target"]


def test_the_experiment_that_only_starts_it_changes_nothing_of_it() -> None:
    text = target_text("pool", {"app": "main:app", "env": {"KEY": "x"}})
    experiment = plan.parse_experiment(text, source="init")
    assert (experiment.target.app, experiment.target.env) == ("main:app", {"KEY": "x"})
    assert not [key for key in experiment.named if key.startswith(("pool.", "session."))]
