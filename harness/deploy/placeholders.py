"""What stands for the database and the port in `[target] env`: every service calls them otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from harness.domain.experiment import PLACEHOLDERS

_PLACEHOLDER = re.compile(rf"\{{(db_url:[A-Za-z0-9_+]+|{'|'.join(PLACEHOLDERS)})\}}")


def filled(env: Mapping[str, str], *, database_url: str | None, port: int | None) -> dict[str, str]:
    """The variables with every placeholder filled that something is known for; other braces are the service's own."""
    url = urlsplit(database_url or "")
    known: dict[str, object] = {} if port is None else {"port": port}
    if database_url is not None:
        known |= {
            "db_host": url.hostname or "",
            "db_port": url.port or 5432,
            "db_user": unquote(url.username or ""),
            "db_password": unquote(url.password or ""),
            "db_name": unquote(url.path.lstrip("/")),
        }

    def fill(match: re.Match[str]) -> str:
        name, _, scheme = match[1].partition(":")
        if name == "db_url" and database_url is not None:
            return url._replace(scheme=scheme or url.scheme).geturl()
        return str(known.get(name, match[0]))

    return {name: _PLACEHOLDER.sub(fill, value) for name, value in env.items()}
