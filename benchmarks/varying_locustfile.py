"""Asks for each endpoint of `benchmarks.varying_app` as often."""

from __future__ import annotations

import os
from random import Random

from locust import FastHttpUser, constant, task

random = Random(os.environ.get("POOLBENCH_SEED", "1"))
"""the same for the sides of a block"""


class Asker(FastHttpUser):
    """Someone who wants everything."""

    wait_time = constant(0)

    @task
    def plain(self) -> None:
        self.client.get("/plain")

    @task
    def rows(self) -> None:
        self.client.get(f"/rows/{random.randrange(30)}", name="/rows/{rows}")

    @task
    def cached(self) -> None:
        self.client.get(f"/cached/{random.randrange(12)}", name="/cached/{key}")

    @task
    def chance(self) -> None:
        self.client.get("/chance")
