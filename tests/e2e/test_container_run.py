"""The quickstart on a Postgres in a container. Shortened: one launch instead of three, a given rate, half the time."""

from __future__ import annotations

import json

import docker
import pandas as pd
import pytest
from conftest import Poolbench  # type: ignore[import-not-found]

SHORTER = ("load.rate_rps=60", "design.launches=1", "load.measure_s=1.0", "database.rows=500")
