"""Password hashes that cost next to nothing."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def hash_password(password: str) -> str:
    """Salted SHA-256, as `sha256$<salt>$<hex>`.

    Deliberately cheap: with scrypt or argon2, 50 to 100 ms of CPU for each new hero would be all a measurement of the
    pool could see. A service with real accounts would take argon2, off the event loop.
    """
    salt = secrets.token_hex(8)
    return f"sha256${salt}${_digest(salt, password)}"


def is_password(password: str, hashed: str) -> bool:
    _, salt, digest = hashed.split("$")
    return hmac.compare_digest(digest, _digest(salt, password))


def _digest(salt: str, password: str) -> str:
    return hashlib.sha256(f"{salt}{password}".encode()).hexdigest()
