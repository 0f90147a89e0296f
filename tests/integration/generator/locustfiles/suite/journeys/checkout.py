from locust import SequentialTaskSet, task
from locust.exception import StopUser


class Checkout(SequentialTaskSet):
    @task
    def look(self):
        self.client.get("/look", headers=self.user.headers())

    @task
    def pay(self):
        from common.prices import price  # late, as some do

        self.client.post("/pay", json={"price": price()}, headers=self.user.headers())

    @task
    def leave(self):
        raise StopUser()
