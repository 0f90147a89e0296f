"""What `poolbench plan` says below its tables: what the run could tell apart, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.domain.cell import Cell
from harness.domain.evidence import Version
from harness.domain.experiment import ProbeUser
from harness.domain.load import ScenarioOutline
from harness.domain.profile import CEILING_SHARE_MAX, MachineProfile
from harness.present.numbers import count, number
from harness.present.phrases import TENFOLD, blocked_text, percent_text, promise_text, version_text


def plan_notes(
    *,
    cells: int,
    detectable: Mapping[str, float | None],
    why_blocked: str,
    arrivals: int | None,
    highest_rps: float,
    processes: int,
    cores: int,
    profile: MachineProfile | None,
    scenarios: Sequence[ScenarioOutline] = (),
    probe_user: ProbeUser,
) -> tuple[str, ...]:
    """Everything that applies.

    Args:
        cells: how many the run has.
        detectable: percentile -> smallest difference that is found four times in five, as a share; None without one.
        why_blocked: why launches do not take turns although the experiment leaves the choice; "" otherwise.
        arrivals: that are offered in all; None while the rate is not known.
        highest_rps: the highest rate that one generator process is asked for, 0 where it is not known.
        processes: of the load generator, on this machine.
        cores: that may be used here.
        profile: what calibration found of this machine, if it was calibrated.
        scenarios: what the cells' scenarios consist of.
        probe_user: who asks beside the load; nobody where it has no request.
    """
    return (
        *map(_consists_of, scenarios),
        *dict.fromkeys(note for scenario in scenarios for note in scenario.notes),
        *([_asks_beside(probe_user)] if probe_user.request else []),
        *([blocked_text(why_blocked)] if why_blocked and cells > 1 else []),
        *_apart(cells, detectable, profile),
        *_ceiling(highest_rps, profile),
        *([crowded_text(processes, cores)] if processes > cores else []),
        *_offered(arrivals),
        *([] if profile or cells == 1 else ["To know this machine's noise, measure it once: poolbench calibrate"]),
    )


def crowded_text(processes: int, cores: int) -> str:
    """What is to be known before more generator processes than cores are started."""
    shared = "1 core" if cores == 1 else f"{cores} cores"
    return (
        f"{processes} load generator processes share {shared} with the service: they wait for each other, which is "
        f"measured as latency. Set load.processes to {max(1, cores - 1)} or less."
    )


def working_tree_text(cell: Cell, version: Version) -> str:
    """What is said where versions are compared and one of them is no commit."""
    return f"{cell.label} is the working tree of {cell.target.dir or 'the current folder'}: {version_text(version)}."


def _consists_of(scenario: ScenarioOutline) -> str:
    """ "mixed (open): get_hero 60 %, create_hero 40 %." """
    name = scenario.scenario.rpartition("/")[2].removesuffix(".py")
    if scenario.model == "closed":
        return f"{name} (closed): {', '.join(f'{count(n)} {own}' for own, n in scenario.users.items())}."
    shares = (f"{task} {percent_text(share)}" for task, share in scenario.tasks.items())
    return f"{name} (open): {', '.join(shares)}."


def _asks_beside(asked: ProbeUser) -> str:
    promised = promise_text(asked.slo) or "nothing"
    beside = f"Beside the load a probe user sends {asked.request}, {asked.rate_rps:g} times a second"
    return f"{beside}, in no other figure; promised of it: {promised}."


def _apart(cells: int, detectable: Mapping[str, float | None], profile: MachineProfile | None) -> Iterator[str]:
    known = {name: share for name, share in detectable.items() if share is not None}
    told = [f"{percent_text(share)} in {name}" for name, share in known.items() if share <= TENFOLD]
    hidden = [name for name, share in known.items() if share > TENFOLD]
    noise = f"noise calibrated {profile.measured_utc[:10]}" if profile else "typical noise assumed"
    if told:
        yield f"This plan tells apart differences from {' and from '.join(told)} on, four times in five ({noise})."
    if hidden:
        yield (
            f"It may miss even a tenfold difference in {' and in '.join(hidden)} ({noise}): "
            "raise design.launches or load.measure_s."
        )
    if cells > 1 and not known:
        yield "One launch tells no difference apart: set design.launches to 3 or more."


def _ceiling(highest_rps: float, profile: MachineProfile | None) -> Iterator[str]:
    ceiling_rps = profile.generator_ceiling_rps if profile else None
    if ceiling_rps is not None and highest_rps > CEILING_SHARE_MAX * ceiling_rps:
        yield (
            f"Launches will be invalid: {number(highest_rps)} arrivals/s are asked of a generator that sends at most "
            f"{number(ceiling_rps)} here, of which {percent_text(CEILING_SHARE_MAX)} may be used."
        )


def _offered(arrivals: int | None) -> Iterator[str]:
    if arrivals:
        yield f"It offers about {count(arrivals)} {'arrival' if arrivals == 1 else 'arrivals'} in all."
