"""Pages of many rows: the object mapper and the serializer at work, the pool held for longer.

Three quarters are pages near the beginning, one quarter anywhere, where a large OFFSET makes Postgres count its way.
"""

from __future__ import annotations

import os
from random import Random

from locust import FastHttpUser, between, task

HEROES = int(os.environ.get("HEROES", "10000"))
"""heroes with ids 1 to HEROES exist"""
PAGE = 100
random = Random(os.environ.get("POOLBENCH_SEED", "1"))
"""the same for the cells of a block, another for each generator process"""


class Browser(FastHttpUser):
    """Someone who leafs through the list of heroes."""

    wait_time = between(0.1, 0.5)

    @task(3)
    def first_pages(self) -> None:
        offset = PAGE * random.randrange(5)
        self.client.get(f"/heroes?offset={offset}&limit={PAGE}", name="/heroes (first pages)")

    @task(1)
    def any_page(self) -> None:
        offset = random.randrange(0, max(1, HEROES - PAGE), PAGE)
        self.client.get(f"/heroes?offset={offset}&limit={PAGE}", name="/heroes (any page)")
