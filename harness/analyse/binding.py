"""Which resource binds a cell: a rule for every answer, and why it is right.

A resource *binds* if more of it would lower the p95 or raise what is carried by a fifth, and more of another would not.

1. *By share.* More of a resource can take from a request no more than it waits for it. So the resource is named for
   which slow requests wait most (`waits`), and only if that is a fifth of what they take: with less the p95 cannot fall
   by a fifth. Where nothing is waited for so long, and what is offered is carried, nothing binds but the load. Nor do
   processors of which less than half is used: twice the load fits, and what waits is what happened to come together.
2. *A queue is where one waits, not why.* Requests that wait for a connection wait for those who have one. If these in
   turn spend more than half of their holds waiting for something else (locks, a core for Postgres, the worker's CPU),
   that is what binds: without it holds would be less than half as long, which is as good as twice the connections,
   while more connections only lengthen that queue. Likewise with threads, whose holders may wait for a connection. Of a
   processor that is true only while it is full: one that idles while requests stand before the pool would be put to
   use by more connections, and close to a service's limit little of that empties the queue.
3. *A full processor takes all queues.* Where less is carried than is offered, or users wait for each other's answers,
   the question is what can be carried. The rate times the CPU time of a request is the CPU's utilisation, whatever the
   sizes of pools and threads are: at five sixths or more no size carries a fifth more. Of the machine's cores the same
   is true, as far as the run itself uses them: what others do there makes room for it. If it is they that are full and
   Postgres uses more than half of that, they are Postgres's.
4. *A refusal is its own cause.* Requests that are refused (429, no connection slot left) are the slowest of all and
   count as such: when they are a good part of those around the p95, it is infinite because of them.

What cannot be told is said: why a service waits outside of pool, database, threads and event loop; what an error is for
that is no limiter's; anything of a pool that no probe saw. CPU time that dials take is the worker's here: where
connections are opened for requests, keeping them may free it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import cast

from harness.analyse.waits import Waits
from harness.domain.binding import GENERATOR_FAILED, Binding, Resource, WhyUnknown

BINDS = 0.2
"""share of what slow requests take from which on waiting is named"""
MAINLY = 0.5
"""share of a hold beyond which its waiting is what the hold is"""
FULL = 0.95
FULL_TO_CARRY = 1 / (1 + BINDS)
LIGHT = 0.5
PROCESSORS = ("worker_cpu", "machine_cpu")


def binding_of(
    launches: Sequence[Waits], *, short: bool = False, closed: bool = False, excluded: Sequence[str] = ()
) -> Binding:
    """What binds a cell, by all of its launches together.

    Args:
        launches: those that count.
        short: less is carried than is offered.
        closed: its users wait for each other's answers, so that whatever they wait for limits what is carried.
        excluded: why those that do not count do not.
    """
    if not launches:
        return _without_launches(excluded)
    slow, holding, in_thread, used = (
        _means([getattr(launch, name) for launch in launches]) for name in ("slow", "holding", "in_thread", "used")
    )
    own_cpu = fmean(launch.own_cpu for launch in launches)
    full = _full_processor(used, own_cpu) if short or closed else None
    caused: dict[str, float] = {}
    queues: dict[str, str] = {}
    for place, share in slow.items():
        cause = place
        if cause == "threads":
            cause = _cause(cause, in_thread, used, full)
        if cause == "pool":
            cause = _cause(cause, holding, used, full)
        caused[cause] = caused.get(cause, 0.0) + share
        if cause != place and share > slow.get(queues.get(cause, cause), 0.0):
            queues[cause] = place
    room = [name for name in PROCESSORS if used.get(name, 0.0) < LIGHT]
    first = max(caused.keys() - room, key=lambda name: caused[name], default="load")
    share = caused.get(first, 0.0)
    if share < BINDS:
        return _without_wait(slow, used, full, short=short)
    if first in ("unseen", "failures"):
        why: WhyUnknown = "failures" if first == "failures" else "unseen"
        if first == "unseen" and not any(launch.probed for launch in launches):
            why = "no_probe"
        return Binding(resource="unknown", share=share, waits=slow, used=used, why=why)
    return Binding(
        resource=cast("Resource", first),
        share=share,
        queue=cast("Resource | None", queues.get(first)),
        waits=slow,
        used=used,
    )


def _without_launches(excluded: Sequence[str]) -> Binding:
    if not excluded:
        return Binding(resource="unknown", why="not_measured")
    if set(excluded) <= GENERATOR_FAILED:
        return Binding(resource="generator")
    return Binding(resource="unknown", why="instrument")


def _means(launches: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By name over launches; what one of them does not show is 0 there."""
    names = dict.fromkeys(name for launch in launches for name in launch)
    return {name: fmean(launch.get(name, 0.0) for launch in launches) for name in names}


def _cause(queue: str, holders: Mapping[str, float], used: Mapping[str, float], full: str | None) -> str:
    """Why those wait who stand in a queue, by what the ones they wait for do."""
    why = {name: share for name, share in holders.items() if name not in PROCESSORS or used.get(name, 0.0) >= FULL}
    if sum(why.values()) > MAINLY:
        return max(why, key=lambda name: why[name])
    return full or queue


def _full_processor(used: Mapping[str, float], own_cpu: float) -> str | None:
    worker = used.get("worker_cpu", 0.0)
    if max(worker, own_cpu) < FULL_TO_CARRY:
        return None
    if worker >= own_cpu:
        return "worker_cpu"
    return "postgres_cpu" if used.get("postgres_cpu", 0.0) > own_cpu / 2 else "machine_cpu"


def _without_wait(slow: Mapping[str, float], used: Mapping[str, float], full: str | None, *, short: bool) -> Binding:
    """Nothing is waited for long enough to matter: the load is carried, or one user keeps a processor busy alone."""
    if full is not None:
        return Binding(resource=cast("Resource", full), share=slow.get(full, 0.0), waits=slow, used=used)
    if short:
        return Binding(resource="unknown", waits=slow, used=used, why="no_wait")
    most = max(used, key=lambda name: used[name], default=None)
    return Binding(resource="load", waits=slow, used=used, next=cast("Resource | None", most))
