"""A web shop on HttpUser: a login whose cookie is kept, weights, names, a basket of one's own, early returns."""

import random

from locust import HttpUser, between, events, tag, task


@events.init_command_line_parser.add_listener
def add_arguments(parser):
    parser.add_argument("--currency", default="EUR", env_var="SHOP_CURRENCY", help="what prices are in")


class Customer(HttpUser):
    wait_time = between(1, 3)
    host = "https://shop.example"

    def on_start(self):
        self.basket = []
        with self.client.post("/login", {"user": "anna", "password": "secret"}, catch_response=True) as response:
            if "session" not in response.cookies:
                response.failure("no session")

    @task(6)
    @tag("browse")
    def product(self):
        currency = self.environment.parsed_options.currency
        self.client.get(f"/products/{random.randint(1, 500)}?currency={currency}", name="/products/[id]")

    @task(3)
    def search(self):
        with self.client.get("/search", params={"q": "lamp"}, name="/search", catch_response=True) as response:
            if response.status_code == 404:
                response.success()
                return
            response.failure("there should be nothing")

    @task
    def buy(self):
        self.basket.append(len(self.basket))
        response = self.client.post("/basket", json={"items": self.basket}, name="/basket")
        if not response.ok:
            return
        self.client.get("/basket")
        self.client.request("DELETE", "/basket/0", name="/basket/[n]")
        self.basket.clear()

    def on_stop(self):
        self.client.post("/logout")
