"""An API on FastHttpUser: rest(), raised failures, module-level functions as tasks, parallel requests, a listener."""

# ruff: noqa: RUF012 -- written as people write them

import gevent
from locust import FastHttpUser, constant_pacing, events, run_single_user, task
from locust.exception import RescheduleTask

slow = []


@events.request.add_listener
def notice(request_type, name, response_time, exception, context, **kwargs):
    if response_time > 1000:
        slow.append((request_type, name))


def ping(user):
    user.client.get("/ping")


class Api(FastHttpUser):
    abstract = True
    wait_time = constant_pacing(2)
    default_headers = {"x-api-key": "k1"}


class Reader(Api):
    weight = 3
    tasks = {ping: 1}

    @task(2)
    def typed(self):
        with self.rest("GET", "/typed") as response:
            if response.js["answer"] != 42:
                response.failure("wrong answer")

    @task(1)
    def page(self):
        def asset(number):
            self.client.get(f"/assets/{number}", name="/assets")

        self.client.get("/page")
        gevent.joinall([gevent.spawn(asset, number) for number in range(3)])


class Writer(Api):
    fixed_count = 1

    @task
    def write(self):
        response = self.client.put("/thing", json={"a": 1})
        if response.status_code != 201:
            raise RescheduleTask()
        response.raise_for_status()


if __name__ == "__main__":
    run_single_user(Reader)
