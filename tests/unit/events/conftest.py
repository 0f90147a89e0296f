"""Lets the tests of this folder share events_of_a_run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
