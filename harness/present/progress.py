"""What a person reads of an event: one line, or nothing."""

from __future__ import annotations

from collections.abc import Mapping

from harness.domain import events
from harness.present.numbers import count, number


def line_of(event: events.Event) -> str:
    """The line for a log; empty for events that are not worth one. Ticks of the load have `load_line`."""
    text = ""
    match event:
        case events.RunStarted():
            text = f"run {event.path}"
        case events.ServerStarting():
            rows = "" if event.rows is None else f", {count(event.rows)} rows to seed"
            text = f"Postgres ({event.provider}){rows}"
        case events.DatabaseFilling():
            last = f": {event.last_line}" if event.last_line else ""
            by = f", by {event.command}" if event.command else ""
            text = f"filling the database{by}, for {event.elapsed_s:.0f} s so far{last}"
        case events.SittingStarted(purpose="staircase"):
            text = f"staircase over {_cells(event.launches)}: what can this machine carry?"
        case events.SittingStarted():
            again = ", again: an instrument had failed" if event.again else ""
            text = f"sitting {event.index} of {event.count}: {_cells(event.launches)}{again}"
        case events.RateChosen():
            text = f"{event.rate_rps:g} arrivals/s: {rate_text(event)}"
        case events.Note():
            text = f"note: {event.text}"
        case events.StageStarted(stage="generator"):
            text = f"generator: up to {event.count} rates against a stub that answers at once"
        case events.StageStarted():
            text = f"noise: the same cell twice, {event.count} launches each"
    return text


def rate_text(chosen: events.RateChosen) -> str:
    """ "60% of the 400 arrivals/s that the strongest of 3 pilots sustained in a staircase (pool_size=20)" """
    of = f"the strongest of {chosen.pilots} pilots" if chosen.pilots > 1 else "the pilot"
    return (
        f"{100 * chosen.share:g}% of the {number(chosen.capacity_rps)} arrivals/s that {of} sustained in a staircase "
        f"({chosen.label})"
    )


def load_line(tick: events.LoadTick) -> str:
    """ "12 of 30 s of load, about 50 s left"; a turn that waits for its service to be clear makes it longer."""
    done_s, expected_s = round(tick.done_s), round(tick.expected_s)
    done = f"{done_s} of {expected_s} s" if done_s <= expected_s else f"{done_s} s (planned {expected_s} s)"
    return f"{done} of load, about {left_text(tick)} left"


def left_text(tick: events.LoadTick) -> str:
    left_s = max(0.0, tick.expected_s - tick.done_s) + tick.rest_s
    return f"{left_s:.0f} s" if left_s < 100 else f"{left_s / 60:.0f} min"


CELL_COLUMNS = ("cell", "offered", "answered", "failed", "p95 ms", "pool used", "waiting")


def cell_cells(tick: events.CellTick) -> tuple[str, ...]:
    """A launch's figures so far, one text for each of CELL_COLUMNS."""
    lost = tick.failed + tick.dropped
    return (
        tick.label,
        *map(count, (tick.offered, tick.answered, lost)),
        number(tick.p95_ms),
        *map(count, (tick.pool_used, tick.pool_waiting)),
    )


def _cells(launches: Mapping[str, str]) -> str:
    labels = list(launches.values())
    return labels[0] if len(labels) == 1 else f"{len(labels)} cells hot together"
