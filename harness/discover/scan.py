"""What a service's own files say: names of variables that look like a database's, and where sessions are made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from harness.domain.discovered import Found, Sources

MAX_FILES = 2000
MAX_BYTES = 500_000
_PASSED_OVER = {"node_modules", "site-packages", "__pycache__", "tests", "test"}
_OWNER = r"(?:[A-Za-z0-9]+_+)*?(?:DATABASE|POSTGRESQL|POSTGRES|SQLALCHEMY(?:_DATABASE)?|ASYNC_DATABASE|DB|PG)"
_PARTS = {
    "db_url": r"_+(?:URL|URI|DSN)",
    "db_host": r"_*(?:HOST|HOSTNAME|SERVER|ADDRESS)",
    "db_port": r"_*PORT",
    "db_user": r"_*(?:USER|USERNAME)",
    "db_password": r"_*(?:PASSWORD|PASS)",
    "db_name": r"_*(?:NAME|DB|DATABASE|DBNAME)",
}
_KINDS = {kind: re.compile(f"(?:{_OWNER}(?:{ending}))", re.IGNORECASE) for kind, ending in _PARTS.items()}
_SIZE = re.compile(r"(?=.*(?:POOL|CONN))(?=.*(?:SIZE|MAX|MIN|COUNT|LIMIT|OVERFLOW))\w+")
_NAME = re.compile(
    r"""["']([A-Z][A-Z0-9_]{3,60})["']"""  # os.environ["DB_HOST"], Field(alias="DB_HOST")
    r"|^\s+([A-Za-z][A-Za-z0-9_]{3,60})\s*:\s*[A-Za-z]",  # a field of settings
    re.MULTILINE,
)
_ASSIGNED = re.compile(r"^\s*(?:export\s+)?([A-Za-z][A-Za-z0-9_]{3,60})\s*=", re.MULTILINE)
_MAKER = re.compile(r"\b(async_sessionmaker|sessionmaker|async_scoped_session|scoped_session|AsyncSession|Session)\(")
_SCHEME = re.compile(r"\b(postgres(?:ql)?\+[a-z0-9]+)\b")
_ASYNC = re.compile(r"\b(?:create_async_engine|async_engine_from_config)\(")
_USUAL_ASYNC = "postgresql+asyncpg"
"""of an async engine, which cannot be given a plain address, where no file names the scheme"""


def scan(folder: Path) -> Sources:
    """Read the service's Python and .env files, as far as they are its own."""
    variables: dict[str, Found] = {}
    sizes: dict[str, Found] = {}
    makers: list[Found] = []
    schemes: list[str] = []
    is_async = False
    for path in _files(folder):
        text = path.read_text(encoding="utf-8", errors="replace")[:MAX_BYTES]
        is_code = path.suffix == ".py"
        for match in (_NAME if is_code else _ASSIGNED).finditer(text):
            group = match.lastindex or 0
            name = match[group].upper()
            found = variables if kind_of(name) else sizes if _SIZE.fullmatch(name) else None
            if found is not None:
                found.setdefault(name, Found(place=_place(folder, path, text, match.start(group)), text=name))
        if is_code:
            makers += [
                Found(place=_place(folder, path, text, match.start()), text=match[1]) for match in _MAKER.finditer(text)
            ]
            is_async = is_async or _ASYNC.search(text) is not None
        schemes += _SCHEME.findall(text)
    schemes += [_USUAL_ASYNC] if is_async else []
    scheme = f":{schemes[0]}" if schemes else ""
    env = {name: f"{{{kind}{scheme if kind == 'db_url' else ''}}}" for name in variables if (kind := kind_of(name))}
    if not scheme:
        env.pop("DATABASE_URL", None)  # which is given as it is
    return Sources(
        variables=tuple(variables.values()),
        sizes=tuple(sizes.values()),
        makers=tuple(makers),
        env=env,
        has_alembic=(folder / "alembic.ini").is_file(),
    )


def kind_of(name: str) -> str:
    """What of a database's address a variable of this name holds; "" for any other."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(name)), "")


def _files(folder: Path) -> Iterator[Path]:
    """Its Python files, and those called .env, .env.example, local.env or the like; not what it has installed, nor its
    tests."""
    left = MAX_FILES
    waiting = [folder]
    while waiting and left:
        folder = waiting.pop()
        for path in sorted(folder.iterdir()) if os.access(folder, os.R_OK | os.X_OK) else ():
            if path.is_dir() and not path.is_symlink():
                own = not path.name.startswith(".") and path.name not in _PASSED_OVER
                if own and not (path / "pyvenv.cfg").exists():
                    waiting.append(path)
            elif (
                left
                and path.is_file()
                and os.access(path, os.R_OK)
                and (path.suffix in {".py", ".env"} or path.name.startswith(".env"))
            ):
                left -= 1
                yield path


def _place(folder: Path, path: Path, text: str, position: int) -> str:
    return f"{path.relative_to(folder)}:{text.count(chr(10), 0, position) + 1}"
