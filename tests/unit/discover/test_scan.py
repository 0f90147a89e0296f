"""What a service's files say of its database."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.discover.scan import kind_of, scan


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DATABASE_URL", "db_url"),
        ("SQLALCHEMY_DATABASE_URI", "db_url"),
        ("ASYNC_DATABASE_URL", "db_url"),
        ("PG_DSN", "db_url"),
        ("DB_ADDRESS", "db_host"),
        ("POSTGRES_SERVER", "db_host"),
        ("DATABASE__HOSTNAME", "db_host"),
        ("SHOP_DB_HOST", "db_host"),
        ("PGHOST", "db_host"),
        ("PGPORT", "db_port"),
        ("POSTGRES_USER", "db_user"),
        ("DB_PASS", "db_password"),
        ("POSTGRES_DB", "db_name"),
        ("PGDATABASE", "db_name"),
        ("REDIS_URL", ""),
        ("REDIS_HOST", ""),
        ("DB_POOL_SIZE", ""),
        ("HOST", ""),
        ("PASSWORD", ""),
    ],
)
def test_names_that_look_like_a_database_s(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.fixture
def service(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "settings.py").write_text(
        "class Settings(BaseSettings):\n"
        "    postgres_server: str\n"
        "    redis_host: str\n"
        "    max_connection_count: int = 10\n"
        'dsn = os.getenv("DATABASE_URL", "postgresql+asyncpg://localhost/shop")\n'
        "Sessions = async_sessionmaker(engine)\n"
    )
    (tmp_path / ".env.example").write_text("# of the compose file\nexport DB_PORT=5432\nSECRET=x\n")
    (tmp_path / "app" / "local.env").write_text("DB_NAME=shop\n")
    (tmp_path / "alembic.ini").write_text("")
    for passed_over in ("venv", "tests", ".git"):
        (tmp_path / passed_over).mkdir()
        (tmp_path / passed_over / "other.py").write_text('os.environ["PGHOST"]\n')
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    return tmp_path


def test_variables_with_their_places_and_placeholders(service: Path) -> None:
    found = scan(service)
    assert {each.text: each.place for each in found.variables} == {
        "DB_PORT": ".env.example:2",
        "DB_NAME": "app/local.env:1",
        "POSTGRES_SERVER": "app/settings.py:2",
        "DATABASE_URL": "app/settings.py:5",
    }
    assert [(each.text, each.place) for each in found.sizes] == [("MAX_CONNECTION_COUNT", "app/settings.py:4")]
    assert found.env == {
        "DB_PORT": "{db_port}",
        "DB_NAME": "{db_name}",
        "POSTGRES_SERVER": "{db_host}",
        "DATABASE_URL": "{db_url:postgresql+asyncpg}",
    }
    assert [(each.text, each.place) for each in found.makers] == [("async_sessionmaker", "app/settings.py:6")]
    assert found.has_alembic


def test_without_a_scheme_in_its_files_it_is_given_the_plain_address(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text('URL = os.environ["DATABASE_URL"], os.environ["DB_URL"]\n')
    assert scan(tmp_path).env == {"DB_URL": "{db_url}"}
    assert not scan(tmp_path).has_alembic


def test_an_async_engine_whose_scheme_no_file_names_is_taken_for_asyncpg(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text('engine = create_async_engine(os.environ["DATABASE_URL"])\n')
    assert scan(tmp_path).env == {"DATABASE_URL": "{db_url:postgresql+asyncpg}"}
