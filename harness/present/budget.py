"""What `poolbench budget` says: the verdict, the sums in full, what would fit, and what is not counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from harness.domain.budget import Budget, Demand, PgBouncer, Service, Share
from harness.present.numbers import count, number
from harness.present.view import quantity

NOT_COUNTED = (
    "migrations, monitoring, backups and people with psql, unless given as jobs; replicas that are still ending beside "
    "those of a deploy's surge. Replication takes none of max_connections but of max_wal_senders."
)


def budget_verdict(budget: Budget) -> str:
    """Whether it fits, by which limit, and by how much."""
    answer = "It fits" if budget.fits else "It does not fit"
    parts = [_against(budget.server, f"max_connections = {budget.server.limit}")]
    if budget.clients is not None:
        parts.append(_against(budget.clients, f"the {count(budget.clients.limit)} clients that PgBouncer takes"))
    return f"{answer}: {'; '.join(parts)}."


def budget_lines(budget: Budget) -> Iterator[tuple[str, str]]:
    """Name and text of each line below the verdict."""
    pooler = budget.fleet.pooler
    for share in budget.shares:
        yield share.name, _sum(share.service, share.service.replicas)
        if share.rolling > share.steady:
            yield f"{share.name}, deploying", _deploying(share)
        yield f"{share.name}, a replica lost", _lost(share)
    if pooler and budget.clients:
        yield "PgBouncer's clients", _situations(budget, budget.clients, through=True)
        yield "PgBouncer's server side", _pooler_sum(pooler)
        yield "PgBouncer's queue", _queue(pooler, budget.clients)
    yield "Postgres", _situations(budget, budget.server, through=False)
    yield from _unnoticed(budget)
    for share in budget.shares:
        yield f"{share.name} may have", _largest(share, alone=len(budget.shares) == 1)
    yield from _instead(budget)
    yield (
        "reserved",
        f"{budget.fleet.reserved}: superuser_reserved_connections + reserved_connections (3 + 0 by default)",
    )
    yield "not counted", NOT_COUNTED


def budget_page(budget: Budget) -> list[RenderableType]:
    """The lines of the terminal, verdict first."""
    lines = [Text.assemble((f"{name}: ", "bold"), text) for name, text in budget_lines(budget)]
    return [Text(budget_verdict(budget), style="bold"), Text(""), *lines]


def budget_dict(budget: Budget) -> Mapping[str, Any]:
    """The same for a program."""
    pooler = budget.fleet.pooler
    return {
        "schema_version": 1,
        "fits": budget.fits,
        "verdict": budget_verdict(budget),
        "postgres": _demand_dict(budget.server) | {"reserved": budget.fleet.reserved, "jobs": budget.fleet.jobs},
        "pgbouncer": None
        if pooler is None or budget.clients is None
        else {
            "clients": _demand_dict(budget.clients),
            "server_connections": pooler.server_connections,
            "default_pool_size": pooler.pool_size,
            "largest_default_pool_size": budget.largest_default_pool_size,
        },
        "services": [_share_dict(share) for share in budget.shares],
    }


def _demand_dict(demand: Demand) -> dict[str, int]:
    return asdict(demand) | {"worst": demand.worst, "left": demand.left}


def _share_dict(share: Share) -> dict[str, Any]:
    return asdict(share) | {
        "surge_replicas": share.service.surge_replicas,
        "largest_pool_size": share.largest_pool_size,
    }


def _against(demand: Demand, limit: str) -> str:
    deploys = demand.rolling > demand.steady
    when = "in a rolling deploy" if deploys else "at most"
    steady = ""
    if demand.left < 0 and deploys:
        steady = f", in steady running {_left(demand.limit - demand.steady)}"
    return f"{when} {count(demand.worst)} of {limit}, {_left(demand.left)}{steady}"


def _sum(service: Service, replicas: int) -> str:
    """ "4 replicas x 2 workers x 1 engine x (10 pool_size + 5 max_overflow) = 120 connections"."""
    factors = (
        quantity(replicas, "replica"),
        quantity(service.workers, "worker"),
        quantity(service.engines, "engine"),
        f"({service.pool_size} pool_size + {service.max_overflow} max_overflow)",
    )
    return f"{' x '.join(factors)} = {_connections(service.connections(replicas))}"


def _deploying(share: Share) -> str:
    service = share.service
    more = quantity(service.surge_replicas, "replica")
    return f"{_sum(service, service.replicas + service.surge_replicas)} ({more} more by a surge of {service.surge})"


def _lost(share: Share) -> str:
    if share.load_factor is None:
        return "it is the only one: nothing answers until it is replaced"
    return (
        f"{_sum(share.service, share.service.replicas - 1)} for the same load: pools do not grow, so each "
        f"connection carries {number(share.load_factor)} times as much"
    )


def _situations(budget: Budget, demand: Demand, *, through: bool) -> str:
    """ "120 web + 2 jobs + 3 reserved = 125 of 100, 25 too many; deploying 155, 55 too many; ...\""""
    fleet = budget.fleet
    terms = [f"{count(share.steady)} {share.name}" for share in budget.shares if share.service.pgbouncer is through]
    if not through:
        terms += [f"{count(fleet.pooler.server_connections)} PgBouncer"] if fleet.pooler else []
        terms += [f"{count(fleet.jobs)} jobs"] if fleet.jobs else []
        terms += [f"{count(fleet.reserved)} reserved"]
    parts = [f"{' + '.join(terms)} = {_of(demand.steady, demand.limit)}"]
    if demand.rolling > demand.steady:
        together = ", all services at once" if len(budget.shares) > 1 else ""
        parts.append(f"deploying{together}: {_of(demand.rolling, demand.limit)}")
    if demand.lost < demand.steady:
        parts.append(f"a replica lost: {_of(demand.lost, demand.limit)}")
    return "; ".join(parts)


def _of(connections: int, limit: int) -> str:
    return f"{count(connections)} of {count(limit)}, {_left(limit - connections)}"


def _left(connections: int) -> str:
    return f"{count(abs(connections))} {'left' if connections >= 0 else 'too many'}"


def _pooler_sum(pooler: PgBouncer) -> str:
    default = ", PgBouncer's own default" if pooler.default_pool_size is None else ""
    reserve = f" + {pooler.reserve_pool_size} reserve_pool_size" if pooler.reserve_pool_size else ""
    factors = (
        quantity(pooler.instances, "instance"),
        quantity(pooler.databases, "database"),
        quantity(pooler.users, "user"),
        f"({pooler.pool_size} default_pool_size{default}{reserve})",
    )
    return f"{' x '.join(factors)} = {_connections(pooler.server_connections)} to Postgres at most"


def _queue(pooler: PgBouncer, clients: Demand) -> str:
    served = pooler.pools * pooler.pool_size
    if clients.worst <= served:
        return f"nobody waits there while no pool of it has more than {quantity(pooler.pool_size, 'client')}"
    return (
        f"{count(clients.worst)} clients share {_connections(served)}: further transactions wait there. That takes "
        "pool_mode = transaction; with session, PgBouncer's default, a client keeps its connection while it is open, "
        "and those beyond wait for one to close"
    )


def _unnoticed(budget: Budget) -> Iterator[tuple[str, str]]:
    """A host that vanishes says no goodbye: its connections stand until TCP gives them up."""
    for name, demand in (("max_connections", budget.server), ("PgBouncer's clients", budget.clients)):
        if demand is not None and demand.left >= 0 and demand.unnoticed > demand.limit:
            text = (
                f"{count(demand.unnoticed)} of {count(demand.limit)} {name} when a replica vanishes with its host and "
                "is replaced before the server notices (tcp_keepalives_idle, two hours by default): too many"
            )
            yield "a host lost", text


def _largest(share: Share, *, alone: bool) -> str:
    service, size = share.service, share.largest_pool_size
    rest = "" if alone else ", the other services unchanged"
    if size is not None:
        return f"pool_size {count(size)} at most beside max_overflow {count(service.max_overflow)}{rest}"
    if share.largest_pool >= 1:
        return (
            f"no pool_size beside max_overflow {count(service.max_overflow)}: pool_size + max_overflow can be "
            f"{count(share.largest_pool)} at most{rest}"
        )
    return f"not even one connection for each engine{rest}: fewer replicas, workers or engines, or a higher limit"


def _instead(budget: Budget) -> Iterator[tuple[str, str]]:
    """What the limits would have to be for the fleet as it is."""
    pooler, clients = budget.fleet.pooler, budget.clients
    if pooler and budget.server.left < 0:
        size = budget.largest_default_pool_size
        yield (
            "PgBouncer may have",
            "not even one connection for each pool" if size is None else f"default_pool_size {count(size)} at most",
        )
    if budget.server.left < 0:
        yield "as it is, it takes", f"max_connections = {budget.server.worst} or more"
    if pooler and clients and clients.left < 0:
        each = -(-clients.worst // pooler.instances)
        yield "as it is, it takes", f"max_client_conn = {each} or more in each PgBouncer"


def _connections(number_: int) -> str:
    return f"{count(number_)} connection{'' if number_ == 1 else 's'}"
