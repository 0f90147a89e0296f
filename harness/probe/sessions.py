"""How the app makes its sessions: looked at while the first of them are made, and never again."""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

from .accounting import current

LOOKED_AT = 20
"""sessions of requests, after which SQLAlchemy has its own method back"""


class Sessions:
    """What `expire_on_commit` the sessions of requests have; before there is one, that of any session."""

    def __init__(self) -> None:
        self._plain: Any = None
        self._hook: Any = None
        self.forget()

    def forget(self) -> None:
        """Know nothing, as a forked child must."""
        self._of_requests: set[bool] = set()
        self._others: set[bool] = set()
        self._left = LOOKED_AT

    @property
    def expire_on_commit(self) -> list[bool]:
        """Each value that was seen."""
        return sorted(self._of_requests or self._others)

    def watch(self) -> None:
        """Look at the sessions made from now on. Every kind, of whatever factory, begins in Session.__init__."""
        module: Any = sys.modules.get("sqlalchemy.orm.session")
        if module is None or self._hook is not None:  # an app without sessions does not get them by being measured
            return
        plain = self._plain = module.Session.__init__

        @wraps(plain)
        def init(session: Any, *arguments: Any, **named: Any) -> None:
            plain(session, *arguments, **named)
            self._look_at(session, module.Session)

        module.Session.__init__ = self._hook = init

    def _look_at(self, session: Any, kind: Any) -> None:
        if self._left <= 0:
            return
        if current.get() is None:
            self._others.add(bool(session.expire_on_commit))
            return
        self._of_requests.add(bool(session.expire_on_commit))
        self._left -= 1
        if self._left <= 0 and kind.__init__ is self._hook:
            kind.__init__ = self._plain
