"""One hero by id, again and again: the cheapest request of the service that asks the database."""

from __future__ import annotations

from random import Random

from locust import FastHttpUser, constant, task

random = Random(1)


class Reader(FastHttpUser):
    """Any hero, without a pause."""

    wait_time = constant(0)

    @task
    def hero(self) -> None:
        self.client.get(f"/heroes/{random.randint(1, 10_000)}", name="/heroes/{id}")
