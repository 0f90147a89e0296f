"""The same endpoints with other dependencies, or on the event loop. Nothing else differs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from target_app.routes.dependencies import Annotations

Endpoint = Callable[..., Any]


def rebound(router: APIRouter, old: Annotations, new: Annotations, *, on_the_loop: bool) -> APIRouter:
    """The router's endpoints with `new` in place of `old`.

    `on_the_loop` makes a coroutine of each def endpoint, which then calls it straight from the event loop.
    """
    if new == old and not on_the_loop:
        return router
    again = APIRouter()
    for route in router.routes:
        assert isinstance(route, APIRoute)
        again.add_api_route(
            route.path,
            _rebound(route.endpoint, old, new, on_the_loop=on_the_loop),
            methods=list(route.methods or ()),
            status_code=route.status_code,
            response_model=route.response_model,
            response_class=route.response_class,
        )
    return again


def _rebound(endpoint: Endpoint, old: Annotations, new: Annotations, *, on_the_loop: bool) -> Endpoint:
    """The endpoint with another signature, which is where FastAPI finds parameters and their dependencies."""

    @wraps(endpoint)
    async def as_coroutine(**arguments: Any) -> Any:
        return endpoint(**arguments)

    @wraps(endpoint)
    async def coroutine(**arguments: Any) -> Any:
        return await endpoint(**arguments)

    @wraps(endpoint)
    def plain(**arguments: Any) -> Any:
        return endpoint(**arguments)

    signature = inspect.signature(endpoint, eval_str=True)
    parameters = [
        parameter.replace(annotation=_swapped(parameter, old, new)) for parameter in signature.parameters.values()
    ]
    is_coroutine = inspect.iscoroutinefunction(endpoint)
    call: Any = coroutine if is_coroutine else as_coroutine if on_the_loop else plain
    call.__signature__ = signature.replace(parameters=parameters)
    return call  # type: ignore[no-any-return]  # one of the three above


def _swapped(parameter: inspect.Parameter, old: Annotations, new: Annotations) -> Any:
    for before, after in zip(old, new, strict=True):
        if parameter.annotation == before:
            return after
    return parameter.annotation
