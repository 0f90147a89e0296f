"""Makes engines in the forms met in public services and prints what each of them has, as JSON.

Run by itself, in any interpreter that a service may have: `engine_forms.py PROBE_FOLDER`, the settings to be overridden
in POOLBENCH_OVERRIDES. No database is needed. A form whose packages are not installed is left out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

DSN = "postgresql://someone:secret@127.0.0.1:9/shop"
PSYCOPG2, ASYNCPG, PSYCOPG = (DSN.replace(":", f"+{driver}:", 1) for driver in ("psycopg2", "asyncpg", "psycopg"))


def module_level() -> Any:
    from sqlalchemy import create_engine

    return create_engine(PSYCOPG2)


def in_a_class() -> Any:
    from sqlalchemy import create_engine

    class Database:
        def __init__(self, url: str) -> None:
            self.engine = create_engine(url, pool_size=20, max_overflow=40, pool_recycle=1800, pool_use_lifo=True)

    def make_database() -> Database:
        return Database(PSYCOPG2)

    return make_database().engine


def async_with_properties() -> Any:
    from sqlalchemy.ext.asyncio import create_async_engine

    properties = {"url": ASYNCPG, "pool_size": 20, "max_overflow": 40, "echo": True, "pool_timeout": 9}
    return create_async_engine(**properties)


def async_psycopg() -> Any:
    import psycopg  # noqa: F401
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(PSYCOPG, connect_args={"connect_timeout": 7})


def url_create() -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import URL

    url = URL.create("postgresql+psycopg2", username="someone", password="secret", host="127.0.0.1", database="shop")
    return create_engine(url, pool_pre_ping=False)


def sqlmodel() -> Any:
    from sqlmodel import create_engine

    return create_engine(PSYCOPG2, echo=True)


def async_around_a_plain_one() -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    plain = create_engine(ASYNCPG, echo=True, future=True)
    AsyncEngine(plain)
    return plain


def session_manager() -> Any:
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import sessionmaker

    class SessionManager:
        def __init__(self) -> None:
            self.engine: Any = None

        def open(self) -> None:
            self.engine = create_async_engine(ASYNCPG, pool_size=20)
            self.make = sessionmaker(self.engine, class_=AsyncSession, expire_on_commit=False)

    manager = SessionManager()
    manager.open()
    return manager.engine


def one_for_each_loop() -> Any:
    from sqlalchemy.ext.asyncio import create_async_engine

    engines = {}

    async def engine() -> Any:
        loop = asyncio.get_running_loop()
        return engines.setdefault(loop, create_async_engine(ASYNCPG, pool_size=20))

    asyncio.run(engine())
    return asyncio.run(engine())


def creator() -> Any:
    import psycopg2
    from sqlalchemy import create_engine

    return create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(DSN), pool_size=20)


def null_pool_before_pgbouncer() -> Any:
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    url = ASYNCPG.replace("127.0.0.1", "pgbouncer")
    return create_async_engine(url, **({"poolclass": NullPool} if "pgbouncer" in url else {"pool_size": 20}))


def wrong_pool_of_an_async_engine() -> Any:
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import QueuePool

    return create_async_engine(ASYNCPG, poolclass=QueuePool)


def a_pool_of_its_own() -> Any:
    import psycopg2
    from sqlalchemy import create_engine
    from sqlalchemy.pool import QueuePool

    return create_engine("postgresql+psycopg2://", pool=QueuePool(lambda: psycopg2.connect(DSN), pool_size=20))


def a_null_pool_of_its_own() -> Any:
    import psycopg2
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    return create_engine("postgresql+psycopg2://", pool=NullPool(lambda: psycopg2.connect(DSN)))


def from_config() -> Any:
    from sqlalchemy import engine_from_config

    return engine_from_config({"sqlalchemy.url": PSYCOPG2, "sqlalchemy.pool_size": "20"})


def migrations() -> Any:
    """Alembic runs env.py; it must keep its NullPool."""
    from alembic import command
    from alembic.config import Config

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "versions").mkdir()
        Path(folder, "env.py").write_text(
            "import sys\nfrom sqlalchemy import engine_from_config, pool\n"
            f"settings = {{'sqlalchemy.url': {PSYCOPG2!r}}}\n"
            "sys.migrations = engine_from_config(settings, poolclass=pool.NullPool)\n"
        )
        config = Config()
        config.set_main_option("script_location", folder)
        command.current(config)
    return sys.migrations  # type: ignore[attr-defined]


FORMS = (
    module_level,
    in_a_class,
    async_with_properties,
    async_psycopg,
    url_create,
    sqlmodel,
    async_around_a_plain_one,
    session_manager,
    creator,
    null_pool_before_pgbouncer,
    wrong_pool_of_an_async_engine,
    a_pool_of_its_own,
    a_null_pool_of_its_own,
    from_config,
    migrations,
    one_for_each_loop,  # last: it leaves its thread without a loop
)


class DialledError(Exception):
    """Instead of a connection: what the driver would have been given."""


def settings_of(engine: Any, applied_of: Any) -> dict[str, Any]:
    from sqlalchemy import event

    engine = getattr(engine, "sync_engine", engine)

    def dial(_dialect: Any, _record: Any, _arguments: Any, named: Any) -> None:
        raise DialledError(
            {name: value for name, value in named.items() if name.endswith(("size", "threshold", "timeout"))}
        )

    event.listen(engine, "do_connect", dial)
    found = applied_of(engine)
    try:
        engine.raw_connection()
    except DialledError as dialled:
        found["dialled"] = dialled.args[0]
    except Exception as error:  # noqa: BLE001 -- a creator dials by itself
        found["dialled"] = type(error).__name__
    return {**found, "echo": bool(engine.echo)}


def load(folder: Path) -> None:
    """As `harness/probe/__main__.py` does."""
    spec = importlib.util.spec_from_file_location(
        "_poolbench_probe", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["_poolbench_probe"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def main() -> None:
    load(Path(sys.argv[1]))
    applied = importlib.import_module("_poolbench_probe.applied")
    importlib.import_module("_poolbench_probe.override").install()
    found = {}
    for form in FORMS:
        try:
            found[form.__name__] = settings_of(form(), applied.applied_of)
        except ImportError:
            continue
        except Exception as error:  # noqa: BLE001 -- what the service would have met
            found[form.__name__] = {"error": str(error)}
    from sqlalchemy.orm import Session, sessionmaker

    found["sessions"] = {"expire_on_commit": [Session().expire_on_commit, sessionmaker()().expire_on_commit]}
    seen = importlib.import_module("_poolbench_probe.override").seen
    found["seen"] = {"echo_off": seen.echo_off, "others": len(seen.others), "first": seen.others[:1]}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
