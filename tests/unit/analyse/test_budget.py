"""Sums that were got wrong in public, and what holds of every fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse import weigh
from harness.domain.budget import Fleet, PgBouncer, Service


def service(**keys: Any) -> Service:
    return Service(**({"replicas": 1, "max_overflow": 0} | keys))


def fleet(max_connections: int, *services: Service, reserved: int = 0, pgbouncer: PgBouncer | None = None) -> Fleet:
    named = {f"s{number}": each for number, each in enumerate(services)}
    return Fleet(max_connections=max_connections, reserved=reserved, services=named, pgbouncer=pgbouncer)


TWO_WORKERS = {"workers": 2, "surge": "100%"}
EVERYWHERE = service(pool_size=5, max_overflow=10, surge="0")


@pytest.mark.parametrize(
    ("planned", "steady", "rolling", "fits"),
    [
        pytest.param(fleet(103, service(pool_size=31, **TWO_WORKERS)), 62, 124, False, id="treg#360"),
        pytest.param(fleet(103, service(pool_size=21, **TWO_WORKERS)), 42, 84, True, id="treg#360, overridden"),
        pytest.param(
            fleet(103, *(service(pool_size=size, **TWO_WORKERS) for size in (15, 3, 13))),
            62,
            124,
            False,
            id="treg#360, three pools of a process",
        ),
        pytest.param(fleet(100, service(replicas=8, pool_size=15, surge="0")), 120, 120, False, id="vexa#529, 8 x 15"),
        pytest.param(
            fleet(100, service(pool_size=20, max_overflow=20, surge="0"), *[EVERYWHERE] * 6),
            130,
            130,
            False,
            id="vexa#529, as its services are listed",
        ),
        pytest.param(
            fleet(100, *[service(replicas=2, pool_size=5, max_overflow=10)] * 2, reserved=10),
            70,
            100,
            True,
            id="vexa#610, which counted no deploy: it fits to the last connection",
        ),
        pytest.param(
            fleet(100, service(workers=4, pool_size=25, max_overflow=60, surge="0")), 340, 340, False, id="panel#788"
        ),
    ],
)
def test_sums_against_postgres(planned: Fleet, steady: int, rolling: int, fits: bool) -> None:
    budget = weigh(planned)
    assert (budget.server.steady, budget.server.rolling, budget.fits) == (steady, rolling, fits)


@pytest.mark.parametrize(("pool_size", "clients", "fits"), [(20, 9200, False), (5, 2300, True), (13, 5980, True)])
def test_clients_of_two_pgbouncers(pool_size: int, clients: int, fits: bool) -> None:
    """n8n-io/terraform-aws-n8n#106: 460 pods, twice max_client_conn = 3000; Postgres has room."""
    pods = service(replicas=460, pool_size=pool_size, surge="0", pgbouncer=True)
    budget = weigh(fleet(5000, pods, pgbouncer=PgBouncer(instances=2, max_client_conn=3000)))
    assert budget.clients is not None
    assert (budget.clients.steady, budget.clients.limit, budget.fits) == (clients, 6000, fits)
    assert budget.server.worst == 2 * 20
    assert budget.shares[0].largest_pool_size == 13


def test_everything_is_in_the_sum() -> None:
    web = Service(replicas=4, workers=2, engines=3, pool_size=10, max_overflow=5, jobs=7)
    budget = weigh(Fleet(services={"web": web}))
    assert budget.server.steady == 4 * 2 * 3 * (10 + 5) + 7 + 3
    assert budget.server.rolling == 5 * 2 * 3 * (10 + 5) + 7 + 3
    assert budget.server.lost == 3 * 2 * 3 * (10 + 5) + 7 + 3
    assert budget.server.unnoticed == 5 * 2 * 3 * (10 + 5) + 7 + 3
    assert budget.server.left == 100 - budget.server.rolling
    share = budget.shares[0]
    assert (share.steady, share.rolling, share.lost, share.load_factor) == (360, 450, 270, pytest.approx(4 / 3))
    assert (share.largest_pool, share.largest_pool_size) == (3, None)


def test_of_unequal_replicas_the_smallest_is_lost_and_the_largest_vanishes() -> None:
    small, large = service(replicas=3, pool_size=2), service(replicas=2, pool_size=9)
    demand = weigh(fleet(100, small, large)).server
    assert (demand.steady, demand.lost, demand.unnoticed) == (24, 24 - 2, 24 + 9)


def test_pgbouncer_takes_its_pools_from_postgres_and_gives_clients_their_own_limit() -> None:
    pooled = Service(replicas=4, pool_size=10, max_overflow=5, pgbouncer=True, jobs=2)
    direct = Service(replicas=2, pool_size=3, max_overflow=0, surge="1")
    pooler = PgBouncer(default_pool_size=6, reserve_pool_size=1, databases=2, users=3, instances=1, max_client_conn=90)
    budget = weigh(Fleet(services={"web": pooled, "api": direct}, pgbouncer=pooler))
    assert budget.server.steady == 2 * 3 + 2 * 3 * (6 + 1) + 2 + 3
    assert budget.server.rolling == 3 * 3 + 2 * 3 * (6 + 1) + 2 + 3
    assert budget.clients is not None
    assert (budget.clients.steady, budget.clients.rolling, budget.clients.lost) == (60, 75, 45)
    assert budget.largest_default_pool_size == (100 - 9 - 5) // 6 - 1
    assert [share.largest_pool_size for share in budget.shares] == [90 // 5 - 5, (100 - 42 - 5) // 3]


def test_a_pgbouncer_of_which_nobody_says_anything_has_its_own_defaults() -> None:
    budget = weigh(Fleet(services={"web": Service(replicas=6, pgbouncer=True)}))
    assert budget.clients is not None
    assert (budget.clients.limit, budget.server.worst, budget.fits) == (100, 20 + 3, False)
    assert weigh(Fleet(services={"web": Service(replicas=6)})).clients is None


@pytest.mark.parametrize(
    ("replicas", "surge", "more"),
    [(4, "25%", 1), (5, "25%", 2), (1, "25%", 1), (1, "0%", 0), (3, "100%", 3), (3, "2", 2), (3, "0", 0)],
)
def test_a_surge_is_rounded_up(replicas: int, surge: str, more: int) -> None:
    assert service(replicas=replicas, surge=surge).surge_replicas == more


SMALL = st.integers(1, 6)
SERVICES = st.builds(
    Service,
    replicas=SMALL,
    workers=SMALL,
    engines=SMALL,
    pool_size=st.integers(1, 40),
    max_overflow=st.integers(0, 40),
    jobs=st.integers(0, 5),
    surge=st.sampled_from(["0", "1", "25%", "50%", "100%"]),
    pgbouncer=st.booleans(),
)
POOLERS = st.builds(
    PgBouncer,
    default_pool_size=st.integers(1, 60),
    reserve_pool_size=st.integers(0, 5),
    databases=SMALL,
    users=SMALL,
    instances=SMALL,
    max_client_conn=st.integers(1, 2000),
)
FLEETS = st.builds(
    Fleet,
    max_connections=st.integers(5, 3000),
    reserved=st.integers(0, 4),
    services=st.dictionaries(st.sampled_from("abc"), SERVICES, min_size=1),
    pgbouncer=POOLERS,
)


def with_service(planned: Fleet, name: str, **keys: Any) -> Fleet:
    return replace(planned, services={**planned.services, name: replace(planned.services[name], **keys)})


def left(planned: Fleet, name: str) -> int:
    """What the limit that a service meets has left."""
    budget = weigh(planned)
    if planned.services[name].pgbouncer:
        assert budget.clients is not None
        return budget.clients.left
    return budget.server.left


@given(FLEETS)
def test_the_largest_pool_fits_and_one_more_does_not(planned: Fleet) -> None:
    for share in weigh(planned).shares:
        largest = share.largest_pool_size
        if largest is not None:
            assert left(with_service(planned, share.name, pool_size=largest), share.name) >= 0
        assert left(with_service(planned, share.name, pool_size=(largest or 0) + 1), share.name) < 0


@given(FLEETS)
def test_the_largest_pool_of_pgbouncer_fits_and_one_more_does_not(planned: Fleet) -> None:
    if (pooler := planned.pooler) is None:
        return
    largest = weigh(planned).largest_default_pool_size
    if largest is not None:
        fitting = replace(planned, pgbouncer=replace(pooler, default_pool_size=largest))
        assert weigh(fitting).server.left >= 0
    beyond = replace(planned, pgbouncer=replace(pooler, default_pool_size=(largest or 0) + 1))
    assert weigh(beyond).server.left < 0


@given(FLEETS, SMALL)
def test_more_replicas_never_need_fewer_connections(planned: Fleet, more: int) -> None:
    for name, each in planned.services.items():
        before, after = weigh(planned), weigh(with_service(planned, name, replicas=each.replicas + more))
        assert after.server.steady >= before.server.steady
        assert after.server.rolling >= before.server.rolling
        assert left(with_service(planned, name, replicas=each.replicas + more), name) < left(planned, name)


@given(FLEETS)
def test_a_lost_replica_never_needs_more_and_a_deploy_never_less(planned: Fleet) -> None:
    budget = weigh(planned)
    for demand in (budget.server, budget.clients):
        if demand is not None:
            assert demand.lost <= demand.steady <= min(demand.rolling, demand.unnoticed)
            assert demand.left == demand.limit - demand.worst
