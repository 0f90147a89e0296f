"""A suite over several modules: users here, helpers and journeys in packages beside it."""

# ruff: noqa: RUF012 -- written as people write them

from common.login import LoggedIn
from journeys.checkout import Checkout


class Buyer(LoggedIn):
    tasks = [Checkout]


class Visitor(LoggedIn):
    weight = 2

    from journeys.browse import home
