"""Stands between a user and its HTTP client: times every call, sets its deadline, learns what became of it.

Recorded around the call rather than from Locust's request event, which misses an exception inside a with-block and
carries wall-clock times. The event still fires, for scenarios that listen to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from locust.clients import HttpSession
from locust.clients import ResponseContextManager as HttpResponse
from locust.contrib.fasthttp import FastHttpSession
from requests.exceptions import ReadTimeout

from harness.domain.load import SETUP_SEGMENT
from harness.generator.book import Book, Execution, Request, SegmentAccount, describe, outcome_of
from harness.generator.deadlines import Deadlines
from harness.generator.http import ARRIVAL_HEADER, ClientPool, shorten
from harness.generator.rounds import Rounds
from harness.generator.server_timing import UNSEEN, ServerTiming, parse_server_timing


class RequestLog:
    """Records the requests of one user instance; `execution` says to which arrival they belong.

    `account_of` says in which segment a request counts that is sent now; None: where its arrival does.
    """

    def __init__(
        self,
        book: Book,
        deadlines: Deadlines,
        rounds: Rounds,
        execution: Execution,
        account_of: Callable[[Execution], SegmentAccount] | None = None,
    ) -> None:
        self.execution = execution
        self.account_of = account_of
        self._book = book
        self._deadlines = deadlines
        self._rounds = rounds
        self._fired: dict[int, Mapping[str, Any]] = {}
        self._sending = 0

    def attach(self, session: Any) -> bool:
        """Take the session's calls over; False when it is no HTTP client of Locust's, so nothing can be recorded."""
        if isinstance(session, FastHttpSession):
            shorten(session, self._deadlines.timeout_s)
        elif isinstance(session, HttpSession):
            client: Any = session
            client._send_request_safe_mode = _failing_softly(client._send_request_safe_mode)
        else:
            return False
        self._session: Any = session
        self._send = session.request
        event = session.request_event
        self._sampled = event.fire
        self._tell = getattr(event, "tell", event.fire)  # it is recorded here, and no sample of the scenario's own
        session.request_event = self  # of an event it only has to fire()
        session.request = self.request
        return True

    def fire(self, **meta: Any) -> None:
        """Stands in for Locust's request event while a call without a with-block reports itself.

        What fires while no call is under way is another client, which was given this one's event: a sample.
        """
        if not self._sending:
            self._sampled(**meta)
            return
        self._fired[id(meta["response"])] = meta
        self._tell(**meta)

    def request(self, method: str, url: str, name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """The client's own `request`, timed and under a deadline."""
        execution = self.execution
        account = execution.account if self.account_of is None else self.account_of(execution)
        headers = dict(kwargs.get("headers") or ())
        headers[ARRIVAL_HEADER] = f"{account.index}-{execution.number}"
        kwargs["headers"] = headers
        endpoint = self._endpoint(method, name or self._session.request_name or _path(url))
        request = Request(execution, endpoint, account)
        self._book.requests += account.index != SETUP_SEGMENT
        deadline = self._deadlines.begin(request.started_ns)
        self._sending += 1
        try:
            response = self._send(method, url, name, *args, **kwargs)
        except BaseException as error:
            request.finished_ns = time.monotonic_ns()
            self._fired.clear()  # a listener of the event may have raised
            self._settle(request, error)
            raise
        else:
            request.finished_ns = time.monotonic_ns()
            request.uptake_ns = self._rounds.uptake_ns(request.started_ns, request.finished_ns)
        finally:
            self._sending -= 1
            self._deadlines.end(deadline)
        self._read(request, response)
        return response

    def _read(self, request: Request, response: Any) -> None:
        meta = self._fired.pop(id(response), None)
        request.status = response.status_code or 0
        request.timing = _server_timing(response)
        if meta is None:  # it reports itself when its with-block ends
            request.response_bytes = response.request_meta["response_length"]
            request.event = response._request_event
            response._request_event = _WithBlock(self, request)
            return
        request.response_bytes = meta["response_length"]
        self._settle(request, meta["exception"])

    def _settle(self, request: Request, error: BaseException | None) -> None:
        request.execution.last_error = error
        outcome = outcome_of(error)
        if error is not None and isinstance(self._session, FastHttpSession):
            self._forget_connection(error)
        self._book.answered(request, outcome, "" if error is None else describe(error, request.status))

    def _forget_connection(self, error: BaseException) -> None:
        """After a deadline the client may hold a place of its pool for ever: begin with a new pool."""
        original = getattr(error, "original", None) or error
        if isinstance(original, gevent.Timeout | gevent.GreenletExit):
            pool = self._session.client.clientpool
            if isinstance(pool, ClientPool):
                pool.close()

    def _endpoint(self, method: str, name: str) -> str:
        return self._book.recorder.endpoints.fold(f"{method.upper()} {name}")


class _WithBlock:
    """Stands in for the request event of a response whose outcome is decided in a with-block."""

    __slots__ = ("_log", "_request")

    def __init__(self, log: RequestLog, request: Request) -> None:
        self._log = log
        self._request = request

    def fire(self, **meta: Any) -> None:
        self._log._settle(self._request, meta["exception"])
        self._log._tell(**meta)


def _failing_softly(send: Any) -> Any:
    """Make the deadline of a requests session a failed response, which is what Locust makes of its errors."""

    def send_or_fail(method: str, url: str, **kwargs: Any) -> Any:
        try:
            return send(method, url, **kwargs)
        except gevent.Timeout:
            return HttpResponse(ReadTimeout("no answer before the request timeout"))

    return send_or_fail


def _path(url: str) -> str:
    """The path of a URL, without host and query, which would make an endpoint of every request."""
    if "://" in url[:9]:
        url = "/" + url.partition("://")[2].partition("/")[2]
    return url.partition("?")[0]


def _server_timing(response: Any) -> ServerTiming:
    headers = response.headers
    value = headers.get("server-timing") if headers else None
    return parse_server_timing(value) if value else UNSEEN
