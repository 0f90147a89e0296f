"""What is drawn by matplotlib and rendered whole; what is said in words is among the unit tests."""

from __future__ import annotations

from reports import make_report, pictures

__all__ = ["make_report", "pictures"]
