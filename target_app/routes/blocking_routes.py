"""A common mistake, kept to be measured: the sync endpoints' own code inside async def (psycopg_blocking).

Each of the sync routes is registered again as a coroutine that calls it straight from the event loop, with a session
that is opened and closed there too. Nothing else differs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from target_app.database import get_db_blocking
from target_app.repository import SqlSyncHeroRepository, SyncHeroRepository
from target_app.routes import sync_routes


async def get_heroes(request: Request, session: Annotated[Session, Depends(get_db_blocking)]) -> SyncHeroRepository:
    return SqlSyncHeroRepository(session, refresh=request.app.state.database.refresh_after_write)


Heroes = Annotated[SyncHeroRepository, Depends(get_heroes)]


def on_the_event_loop(endpoint: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The endpoint as `async def`, its repository coming from this module instead of the threadpool."""

    @wraps(endpoint)
    async def blocking_endpoint(**arguments: Any) -> Any:
        return endpoint(**arguments)

    signature = inspect.signature(endpoint, eval_str=True)
    parameters = [
        parameter.replace(annotation=Heroes) if parameter.annotation == sync_routes.Heroes else parameter
        for parameter in signature.parameters.values()
    ]
    # FastAPI reads an endpoint's parameters and their dependencies from its signature.
    blocking_endpoint.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return blocking_endpoint


router = APIRouter()
for route in sync_routes.router.routes:
    assert isinstance(route, APIRoute)
    router.add_api_route(
        route.path,
        on_the_event_loop(route.endpoint),
        methods=list(route.methods or ()),
        status_code=route.status_code,
        response_model=route.response_model,
    )
