from __future__ import annotations

from reports import make_report

__all__ = ["make_report"]
