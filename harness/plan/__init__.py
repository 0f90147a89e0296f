"""Text in, cells out: reads an experiment, says what is wrong with it and where, and expands its matrix.

Pydantic is used at this edge only; everything returned is a frozen value of `harness.domain`.
"""

from harness.plan.budget import fleet_of, load_fleet, wanted_of
from harness.plan.ceilings import check_ceilings
from harness.plan.cells import expand
from harness.plan.codec import cell_without_secrets, masked_keys, without_secrets
from harness.plan.locate import experiment_path, resolve_scenario, shipped, shipped_names
from harness.plan.outside import with_secrets
from harness.plan.parse import load_experiment, parse_experiment
from harness.plan.rules import check_name

__all__ = [
    "cell_without_secrets",
    "check_ceilings",
    "check_name",
    "expand",
    "experiment_path",
    "fleet_of",
    "load_experiment",
    "load_fleet",
    "masked_keys",
    "parse_experiment",
    "resolve_scenario",
    "shipped",
    "shipped_names",
    "wanted_of",
    "with_secrets",
    "without_secrets",
]
