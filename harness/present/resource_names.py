"""What each resource is called in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "load": "nothing",
    "generator": "the load generator",
    "worker_cpu": "one worker's CPU",
    "machine_cpu": "the machine's CPU",
    "event_loop": "a blocked event loop",
    "gc": "garbage collection",
    "threads": "threads",
    "pool": "the pool",
    "dial": "dialling",
    "locks": "locks in Postgres",
    "postgres_cpu": "Postgres's CPU",
    "postgres_io": "Postgres's disk",
    "max_connections": "max_connections",
    "limiter": "a rate limiter",
    "unknown": "cannot be told",
    "unseen": "something unseen",
    "failures": "other failures",
}
