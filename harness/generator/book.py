"""Keeps both accounts of one launch, row by row and count by count, as arrivals and their requests end."""

from __future__ import annotations

import time
from typing import Any

from harness.domain.load import SETUP_SEGMENT
from harness.domain.rows import DROPPED, ERROR, OK, TIMEOUT, UNFINISHED
from harness.generator.recorder import Recorder
from harness.generator.server_timing import UNSEEN
from harness.generator.tally import Tally

ON_START = "on_start"
ON_STOP = "on_stop"


class SegmentAccount:
    """What a segment has offered and served so far."""

    __slots__ = ("dropped", "index", "offered", "served")

    def __init__(self, index: int) -> None:
        self.index = index
        self.offered = 0
        self.served = 0
        self.dropped = 0


class Execution:
    """One task being executed, or the on_start of one user: what its requests have in common."""

    __slots__ = (
        "account",
        "failed",
        "handed_ns",
        "intended_ns",
        "last_error",
        "number",
        "open",
        "over",
        "sequence",
        "task",
    )

    def __init__(
        self, account: SegmentAccount, number: int, task: str, intended_ns: int | None, handed_ns: int = -1
    ) -> None:
        self.account = account
        self.number = number
        self.handed_ns = handed_ns
        """when the engine gave the arrival to its user; -1 in the closed model"""
        self.task = task
        self.intended_ns = intended_ns
        """None in the closed model, where nothing was intended"""
        self.sequence = 0
        self.open: list[Request] = []
        """requests in flight, or answered and awaiting the end of their with-block"""
        self.last_error: BaseException | None = None
        """the last request's failure, so that a task raising it is not counted twice"""
        self.failed = False
        self.over = False


class Request:
    """One client call, from before it is sent until its outcome is known.

    It counts in `account`'s segment, which is its task's unless a user of the closed model began that before.
    """

    __slots__ = (
        "account",
        "ended",
        "endpoint",
        "event",
        "execution",
        "finished_ns",
        "intended_ns",
        "response_bytes",
        "sequence",
        "started_ns",
        "status",
        "timing",
        "uptake_ns",
    )

    def __init__(self, execution: Execution, endpoint: str, account: SegmentAccount | None = None) -> None:
        self.execution = execution
        self.account = account or execution.account
        self.endpoint = endpoint
        self.sequence = execution.sequence
        execution.sequence += 1
        execution.open.append(self)
        self.status = 0
        self.response_bytes = 0
        self.timing = UNSEEN
        self.event: Any = None
        self.ended = False
        self.finished_ns = -1
        self.uptake_ns = 0
        self.started_ns = time.monotonic_ns()
        intended_ns = execution.intended_ns
        self.intended_ns = self.started_ns if intended_ns is None or self.sequence else intended_ns


class Book:
    """The rows and the counts of one launch."""

    def __init__(self, recorder: Recorder, tally: Tally) -> None:
        self.recorder = recorder
        self.tally = tally
        self._setup = SegmentAccount(SETUP_SEGMENT)
        self.requests = 0
        """client calls that tasks have begun so far, and samples that they fired"""

    def setup(self, number: int, task: str = ON_START) -> Execution:
        """Collects what user instance `number` sends outside of any task: in on_start, or in on_stop."""
        return Execution(self._setup, number, task, None)

    def offered(self, account: SegmentAccount, task: str) -> None:
        account.offered += 1
        self.tally.offered(account.index, task)

    def dropped(self, account: SegmentAccount, number: int, task: str, intended_ns: int) -> None:
        """An arrival that found no place under the cap."""
        account.dropped += 1
        self.tally.dropped(account.index, task)
        self.recorder.write(
            segment=account.index,
            arrival=number,
            sequence=0,
            task=task,
            endpoint="",
            outcome=DROPPED,
            intended_ns=intended_ns,
        )

    def answered(self, request: Request, outcome: int, error: str) -> None:
        """A request ended: OK, ERROR or TIMEOUT."""
        execution = request.execution
        if request.ended or execution.over:
            return
        request.ended = True
        execution.open.remove(request)
        execution.failed = execution.failed or outcome != OK
        self.tally.request(request.account.index, request.endpoint, outcome)
        self._write(request, outcome, error)

    def sampled(self, execution: Execution, endpoint: str, took_ns: int, error: BaseException | None) -> None:
        """A sample that the scenario fired itself: it took so long, and ended now."""
        request = Request(execution, self.recorder.endpoints.fold(endpoint))
        request.finished_ns = request.started_ns
        request.started_ns -= took_ns
        if execution.intended_ns is None or request.sequence:
            request.intended_ns = request.started_ns
        else:
            request.started_ns = max(request.started_ns, execution.handed_ns)  # no arrival begins before it is due
        self.requests += execution.account.index != SETUP_SEGMENT
        execution.last_error = error
        self.answered(request, outcome_of(error), "" if error is None else describe(error, 0))

    def carried_over(self, execution: Execution) -> None:
        """A task goes on in a later segment than it began in: where it began, it has a row of its own."""
        if execution.sequence == 0:
            self._without_request(execution, OK, "")
            execution.open.clear()

    def done(self, execution: Execution, error: str) -> None:
        """A task ended; a non-empty `error` says what it raised that no request of its own accounts for."""
        if execution.over:
            return
        for request in list(execution.open):
            self.answered(request, ERROR if error else OK, error)
            error = ""
        execution.failed = execution.failed or bool(error)
        if error or execution.sequence == 0:
            self._without_request(execution, ERROR if error else OK, error)
        execution.over = True
        if execution.account is not self._setup:
            self.tally.done(execution.account.index, execution.task)
        execution.account.served += not execution.failed

    def abandoned(self, execution: Execution) -> None:
        """The plan is over and so is the patience: a task that never came back."""
        if execution.over:
            return
        in_flight = [request for request in execution.open if request.finished_ns < 0]
        for request in [request for request in execution.open if request.finished_ns >= 0]:
            self.answered(request, OK, "")
        execution.over = True
        self.tally.unfinished(execution.account.index, execution.task)
        for request in in_flight:
            request.account = execution.account
            self._write(request, UNFINISHED, "")
        if not in_flight:
            self._without_request(execution, UNFINISHED, "")

    def _without_request(self, execution: Execution, outcome: int, error: str) -> None:
        """A row for a task that sent nothing, or whose failure is not one of its requests'."""
        request = Request(execution, "")
        if execution.account is self._setup and outcome == OK:
            return  # a user whose on_start sends nothing leaves no row
        if outcome != UNFINISHED:
            request.finished_ns = request.started_ns
            self.tally.request(execution.account.index, "", outcome)
        self._write(request, outcome, error)

    def _write(self, request: Request, outcome: int, error: str) -> None:
        execution = request.execution
        timing = request.timing
        self.recorder.write(
            segment=request.account.index,
            arrival=execution.number,
            sequence=request.sequence,
            task=execution.task,
            endpoint=request.endpoint,
            outcome=outcome,
            status=request.status,
            error=error,
            intended_ns=request.intended_ns,
            handed_ns=request.started_ns if request.sequence or execution.handed_ns < 0 else execution.handed_ns,
            started_ns=request.started_ns,
            finished_ns=request.finished_ns,
            uptake_ns=request.uptake_ns,
            response_bytes=request.response_bytes,
            pool_ms=timing.pool_ms,
            db_ms=timing.db_ms,
            app_ms=timing.app_ms,
            pid=timing.pid,
        )


def outcome_of(error: BaseException | None) -> int:
    """What a request's exception makes of it."""
    if error is None:
        return OK
    return TIMEOUT if is_timeout(error) else ERROR


def is_timeout(error: BaseException) -> bool:
    """Whether the request ran out of time, whichever client said so and however deep it wrapped it."""
    seen = error if not hasattr(error, "original") or error.original is None else error.original
    return isinstance(seen, TimeoutError) or type(seen).__name__ in _TIMEOUT_NAMES


_TIMEOUT_NAMES = frozenset({"Timeout", "ReadTimeout", "ConnectTimeout", "ReadTimeoutError", "ConnectTimeoutError"})
"""gevent's, requests' and urllib3's, by name: importing requests and urllib3 here would only serve to ask."""


def describe(error: BaseException, status: int) -> str:
    """One line that groups well: no URL, no id where it can be avoided."""
    original = getattr(error, "original", None)
    if isinstance(original, BaseException):
        return describe(original, status)
    if is_timeout(error):
        return "timeout"
    if type(error).__name__ in ("LocustBadStatusCode", "HTTPError"):
        return f"HTTP {status or getattr(error, 'code', 0)}"
    text = " ".join(str(getattr(error, "text", "") or error).split())[:200]
    name = type(error).__name__
    if name == "CatchResponseError":
        return text
    return f"{name}: {text}" if text else name


def said(error: BaseException) -> str:
    """The same within a sentence that goes on or ends with a full stop of its own."""
    return describe(error, 0).rstrip(".")
