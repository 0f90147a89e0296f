"""The smallest scenario: one GET a task."""

from __future__ import annotations

from locust import FastHttpUser, task


class Pinging(FastHttpUser):
    """Asks for / and looks at nothing."""

    @task
    def ping(self) -> None:
        self.client.get("/")
