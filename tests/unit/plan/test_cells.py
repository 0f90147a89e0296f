"""Matrix to cells: order, ids, labels; and the ceilings of connections."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.cell import Cell
from harness.domain.design import Kind
from harness.domain.experiment import Experiment, Load, Pool, Target
from harness.errors import UsageError
from harness.plan import check_ceilings, expand, parse_experiment
from harness.plan.json_schema import json_schema
from harness.plan.schema import known_keys


def experiment(matrix: str, more: str = "") -> Experiment:
    text = f'schema_version = 1\nname = "one"\n[matrix]\n{matrix}\n[design]\nkind = "blocked"\n{more}\n'
    return parse_experiment(text + ("" if "[load]" in more else "[load]\nrate_rps = 100\n"), source="x.toml")


def test_cells_are_the_product_in_the_order_of_the_file() -> None:
    cells = expand(experiment('target.driver = ["asyncpg", "psycopg"]\npool.pool_size = [5, 20]'))
    assert [(cell.id, cell.label) for cell in cells] == [
        ("c1", "asyncpg, pool_size 5"),
        ("c2", "asyncpg, pool_size 20"),
        ("c3", "psycopg, pool_size 5"),
        ("c4", "psycopg, pool_size 20"),
    ]
    assert cells[2].factors == (("target.driver", "psycopg"), ("pool.pool_size", 5))
    assert (cells[2].target.driver, cells[2].pool.pool_size) == ("psycopg", 5)


def test_cells_know_what_their_experiment_names() -> None:
    text = (
        'schema_version = 1\nname = "one"\n[matrix]\n"pool.pool_size" = [5, 6]\n[pool]\nmax_overflow = 10\n'
        '[target]\napp = "shop:app"\n[load]\nrate_rps = 100\n'
    )
    first, second = expand(parse_experiment(text, source="x.toml", overrides=["session.expire_on_commit=true"]))
    named = {"pool.pool_size", "pool.max_overflow", "target.app", "load.rate_rps", "session.expire_on_commit"}
    assert set(first.named) == set(second.named) == named
    assert first.has_say("pool.max_overflow")  # with its default's value all the same
    assert not first.has_say("pool.pool_timeout_s")
    assert replace(first, target=Target()).has_say("pool.pool_timeout_s")


def test_what_an_experiment_names_is_no_key_of_it() -> None:
    with pytest.raises(UsageError, match=r"x.toml:2: unknown key 'named'"):
        parse_experiment('schema_version = 1\nnamed = ["a"]\nname = "one"\n[load]\nrate_rps = 1\n', source="x.toml")
    assert "named" not in known_keys()
    assert "named" not in json_schema()["properties"]


@pytest.mark.parametrize(
    "matrix",
    [
        "pool.pool_size = [5, 6]\nsession.expire_on_commit = [true]",
        '"pool.pool_size" = [5, 6]\n"session.expire_on_commit" = [true]',
        "[matrix.pool]\npool_size = [5, 6]\n[matrix.session]\nexpire_on_commit = [true]",
    ],
)
def test_dotted_quoted_and_nested_keys_mean_the_same(matrix: str) -> None:
    assert experiment(matrix).matrix == {"pool.pool_size": (5, 6), "session.expire_on_commit": (True,)}


def test_without_a_matrix_there_is_one_cell_named_as_the_experiment() -> None:
    (cell,) = expand(experiment(""))
    assert (cell.id, cell.label, cell.factors) == ("c1", "one", ())


def test_ids_are_padded_to_the_count() -> None:
    cells = expand(experiment(f"pool.pool_size = {list(range(1, 13))}"))
    assert [cell.id for cell in cells][::11] == ["c01", "c12"]


@pytest.mark.parametrize(
    ("matrix", "labels"),
    [
        ("session.expire_on_commit = [false, true]", ["expire_on_commit off", "expire_on_commit on"]),
        ("pool.pool_size = [5, 6]\nsession.expire_on_commit = [true]", ["pool_size 5", "pool_size 6"]),
        ("pool.pool_size = [5]", ["one"]),
        ('pool.pool_class = ["queue", "null"]', ["queue pool", "null pool"]),
        ('pool.pool_class = ["queue", "psycopg_pool"]\ntarget.driver = ["psycopg"]', ["queue pool", "psycopg_pool"]),
        ('session.update_mode = ["last_wins", "version"]', ["update_mode last_wins", "update_mode version"]),
        ("target.cpus = [[], [0, 1]]", ["cpus any", "cpus 0+1"]),
        ('load.scenario = ["mixed", "my/own.py"]', ["mixed", "own"]),
        ("load.rate_rps = [50, 99.5]", ["rate_rps 50", "rate_rps 99.5"]),
    ],
)
def test_labels_say_what_varies(matrix: str, labels: list[str]) -> None:
    more = "[load]\n" if "rate_rps" in matrix else ""
    assert [cell.label for cell in expand(experiment(matrix, more))] == labels


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6, unique=True),
    drivers=st.lists(st.sampled_from(["asyncpg", "psycopg", "psycopg_sync"]), min_size=1, unique=True),
)
def test_every_combination_is_one_cell_of_its_own(sizes: list[int], drivers: list[str]) -> None:
    cells = expand(experiment(f"pool.pool_size = {sizes}\ntarget.driver = {drivers}"))
    assert len({cell.id for cell in cells}) == len(cells) == math.prod([len(sizes), len(drivers)])
    assert {(c.pool.pool_size, c.target.driver) for c in cells} == {(s, d) for s in sizes for d in drivers}
    if len(cells) > 1:
        assert len({cell.label for cell in cells}) == len(cells)


def cell(*, size: int, overflow: int = 0, workers: int = 1) -> Cell:
    (made,) = expand(Experiment(schema_version=1, name="x", load=Load(rate_rps=1)))
    return replace(
        made, pool=Pool(pool_size=size, max_overflow=overflow), target=Target(workers=workers), id=f"c{size}"
    )


@given(
    st.lists(st.builds(cell, size=st.integers(1, 50), workers=st.integers(1, 3)), min_size=1, max_size=6),
    st.sampled_from(["blocked", "interleaved"]),
)
def test_cells_are_refused_exactly_when_they_do_not_fit(cells: list[Cell], kind: Kind) -> None:
    ceilings = [each.connection_ceiling or 0 for each in cells]
    needed = sum(ceilings) if kind == "interleaved" else max(ceilings)
    check_ceilings(cells, kind, needed + 5, reserved=3)  # exactly enough
    with pytest.raises(UsageError):
        check_ceilings(cells, kind, needed + 4, reserved=3)


def test_the_limit_named_as_next_step_is_enough() -> None:
    cells = [cell(size=20, workers=2), cell(size=60)]
    with pytest.raises(UsageError) as caught:
        check_ceilings(cells, "interleaved", 100, reserved=4)
    assert "1 x 40 + 1 x 60 = 100 connections, but max_connections = 100 leaves 94 (4 reserved" in caught.value.cause
    assert "106 or more" in caught.value.next_step
    check_ceilings(cells, "interleaved", 106, reserved=4)


def bounced(size: int, pool_size: int, **pool: Any) -> Cell:
    target = Target(pgbouncer=True, pgbouncer_pool_size=pool_size)
    return replace(cell(size=5), pool=Pool(pool_size=size, max_overflow=0, **pool), target=target)


def test_behind_pgbouncer_the_lower_ceiling_counts() -> None:
    few, many, unlimited = bounced(5, 20), bounced(500, 20), bounced(5, 20, pool_class="null")
    assert [each.server_ceiling for each in (few, many, unlimited)] == [5, 20, 20]
    assert many.connection_ceiling == 500
    check_ceilings([many], "interleaved", 25, reserved=3)
    with pytest.raises(UsageError, match="may open pgbouncer_pool_size = 20 connections") as caught:
        check_ceilings([many], "interleaved", 24, reserved=3)
    assert "Lower target.pgbouncer_pool_size" in caught.value.next_step


def test_a_pool_without_limit_is_not_counted() -> None:
    unlimited = replace(cell(size=5), pool=Pool(pool_class="null"))
    check_ceilings([unlimited, cell(size=5)], "interleaved", 10, reserved=3)
