"""Answers to errors: 503 while the database cannot serve, 409 and 422 for a request that cannot be done."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import JSONResponse

from target_app.repository import RefusedError, sqlstate_of
from target_app.schemas import InvalidRequest, Problem

logger = logging.getLogger("target_app")

RETRY_AFTER_S = 1

RESPONSES: Mapping[int | str, dict[str, Any]] = {
    422: {"model": InvalidRequest, "description": "The request makes no sense"},
    503: {"model": Problem, "description": f"The database cannot serve now; ask again after {RETRY_AFTER_S} s"},
}
"""What any endpoint may answer besides its own, for the OpenAPI document."""

# SQLSTATE classes (and single states) that say "not now": connection, idle in a transaction for too long,
# authorisation, database name, transaction rolled back for another's sake, resources, lock not available, operator.
_PASSING_STATES = ("08", "25P03", "28", "3D", "40", "53", "55P03", "57")


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(PoolTimeoutError, _pool_exhausted)
    app.add_exception_handler(DBAPIError, _database_failed)
    app.add_exception_handler(OSError, _database_unreachable)  # how asyncpg reports a refused or lost connection
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid_request)


async def _pool_exhausted(_request: Request, _error: Exception) -> JSONResponse:
    return _unavailable("no database connection became free in time")


async def _database_unreachable(_request: Request, error: Exception) -> JSONResponse:
    logger.warning("database unavailable: %s", error)
    return _unavailable("the database is unavailable")


async def _database_failed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DBAPIError)
    if not is_passing(error):
        raise error  # a bug: logged with its traceback, answered with a bare 500
    return await _database_unreachable(request, error.orig or error)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return JSONResponse({"detail": error.detail}, status_code=error.status)


async def _invalid_request(_request: Request, error: Exception) -> JSONResponse:
    """FastAPI's answer less the input, which may be a password, or what JSON cannot carry back (NaN, say)."""
    assert isinstance(error, RequestValidationError)
    problems = [{key: problem[key] for key in ("type", "loc", "msg")} for problem in error.errors()]
    return JSONResponse({"detail": problems}, status_code=422)


def is_passing(error: DBAPIError) -> bool:
    """Whether the same request may succeed later: the database is away, overloaded or took another's side."""
    sqlstate = sqlstate_of(error)
    if sqlstate is None:
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return sqlstate.startswith(_PASSING_STATES)


def _unavailable(detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=503, headers={"Retry-After": str(RETRY_AFTER_S)})
