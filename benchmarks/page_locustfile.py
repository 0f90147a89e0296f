"""A page of 100 heroes, again and again."""

from __future__ import annotations

from locust import FastHttpUser, constant, task


class Browser(FastHttpUser):
    """Always the same page: every request costs the same."""

    wait_time = constant(0)

    @task
    def page(self) -> None:
        self.client.get("/heroes?offset=0&limit=100")
