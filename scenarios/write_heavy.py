"""Mostly writes: every commit costs a round trip and a flush of the write-ahead log.

40 new heroes, 30 changes, 20 deletions, 10 reads in every hundred arrivals. Only heroes that it created are deleted.
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


class Writer(FastHttpUser):
    """Someone who keeps the records: adds heroes, corrects them, removes what was added."""

    wait_time = between(0.1, 0.5)

    @task(40)
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

    @task(30)
    def update_hero(self) -> None:
        hero_id = random.randint(1, HEROES)
        self.client.patch(f"/heroes/{hero_id}", json={"age": random.randint(18, 99)}, name="/heroes/{id}")

    @task(20)
    def delete_hero(self) -> None:
        """Remove the oldest hero created here; where there is none, make one instead."""
        if not created:
            self.create_hero()
            return
        self.client.delete(f"/heroes/{created.popleft()}", name="/heroes/{id}")

    @task(10)
    def get_hero(self) -> None:
        self.client.get(f"/heroes/{random.randint(1, HEROES)}", name="/heroes/{id}")
