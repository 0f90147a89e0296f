"""Mostly reads: how a service behaves where nearly every request only looks.

90 single heroes, 8 pages, 2 changes of a hero in every hundred arrivals.
"""

from __future__ import annotations

import os
from random import Random

from locust import FastHttpUser, between, task

HEROES = int(os.environ.get("HEROES", "10000"))
"""heroes with ids 1 to HEROES exist"""
random = Random(os.environ.get("POOLBENCH_SEED", "1"))
"""the same for the cells of a block, another for each generator process"""


class Reader(FastHttpUser):
    """Someone who looks up heroes, and now and then corrects one."""

    wait_time = between(0.1, 0.5)

    @task(90)
    def get_hero(self) -> None:
        self.client.get(f"/heroes/{random.randint(1, HEROES)}", name="/heroes/{id}")

    @task(8)
    def list_heroes(self) -> None:
        offset = random.randrange(0, max(1, HEROES - 20), 20)
        self.client.get(f"/heroes?offset={offset}&limit=20", name="/heroes")

    @task(2)
    def update_hero(self) -> None:
        hero_id = random.randint(1, HEROES)
        self.client.patch(f"/heroes/{hero_id}", json={"age": random.randint(18, 99)}, name="/heroes/{id}")
