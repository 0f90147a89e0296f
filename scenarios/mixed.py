"""Everything a usual service does, in usual proportions: the default scenario.

70 single heroes, 10 pages, 10 changes, 7 new heroes, 3 deletions in every hundred arrivals. Only heroes that it created
are deleted.
"""

from __future__ import annotations

import os
from collections import deque
from random import Random

from locust import FastHttpUser, between, task

HEROES = int(os.environ.get("HEROES", "10000"))
"""heroes with ids 1 to HEROES exist"""
random = Random(os.environ.get("POOLBENCH_SEED", "1"))
"""the same for the cells of a block, another for each generator process"""
created: deque[int] = deque()
"""ids of heroes that this scenario made and has not deleted"""


class Visitor(FastHttpUser):
    """Someone who looks up heroes, leafs through them, and sometimes changes something."""

    wait_time = between(0.1, 0.5)

    @task(70)
    def get_hero(self) -> None:
        self.client.get(f"/heroes/{random.randint(1, HEROES)}", name="/heroes/{id}")

    @task(10)
    def list_heroes(self) -> None:
        offset = random.randrange(0, max(1, HEROES - 20), 20)
        self.client.get(f"/heroes?offset={offset}&limit=20", name="/heroes")

    @task(10)
    def update_hero(self) -> None:
        hero_id = random.randint(1, HEROES)
        self.client.patch(f"/heroes/{hero_id}", json={"age": random.randint(18, 99)}, name="/heroes/{id}")

    @task(7)
    def create_hero(self) -> None:
        hero = {
            "name": f"Hero {random.getrandbits(32):08x}",
            "secret_name": f"Secret {random.getrandbits(32):08x}",
            "password": f"password-{random.getrandbits(32):08x}",
            "age": random.randint(18, 99),
        }
        response = self.client.post("/heroes", json=hero)
        if response.status_code == 201:
            created.append(response.json()["id"])

    @task(3)
    def delete_hero(self) -> None:
        """Remove the oldest hero created here; where there is none, make one instead."""
        if not created:
            self.create_hero()
            return
        self.client.delete(f"/heroes/{created.popleft()}", name="/heroes/{id}")
