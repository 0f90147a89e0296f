"""What is never written down or shown: passwords in URLs and connection strings, and values that look like a secret."""

from __future__ import annotations

import re
from collections.abc import Callable

MASK = "***"
"""What stands in the place of a secret; where several are told apart, a number follows."""

_PASSWORD = re.compile(
    r"(?<=://)(?P<user>[^:/?#\s]*:)(?P<url>.*)@(?=[^@/?#]*(?:[/?#]|$))"
    r"|(?P<scheme>https?://)(?P<lone>[^:/?#@\s]+)@"  # a user alone is a token there
    r"|(?P<key>(?i:passw(?:or)?d|pwd|token|secret|api_?key|signature)\s*=\s*)"
    r"(?P<value>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^&\s]+)"
)
_SECRET_NAME = re.compile(r"(?i)pass|pwd|secret|token|key|credential|auth|private|cookie|bearer|dsn|salt|signature")
_SECRET_VALUE = re.compile(
    r"-----BEGIN |eyJ[\w-]+\.|(?i:bearer|basic) |[0-9a-fA-F]{32,}$"
    r"|(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=\D*\d)[A-Za-z0-9+_=~-][A-Za-z0-9+/_=~-]{19,}$"  # as random bytes are written
)


def hide(_secret: str) -> str:
    """Every secret alike."""
    return MASK


def masked(text: str, mask: Callable[[str], str] = hide) -> str:
    """The text with each password in it replaced by what `mask` makes of it."""

    def hidden(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "url":
                return f"{found['user']}{mask(found['url'])}@"
            case "lone":
                return f"{found['scheme']}{mask(found['lone'])}@"
            case _:
                return f"{found['key']}{mask(found['value'])}"

    return _PASSWORD.sub(hidden, text)


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable of this name, or a value of this form, is likely a secret; better one too many."""
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.match(value))
