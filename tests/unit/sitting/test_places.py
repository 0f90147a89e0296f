"""Where launches find their databases: which server is up when, told by fakes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from contracts import launches
from fakes import FakeDeploy, Story

from harness import places
from harness.domain.cell import Cell
from harness.domain.experiment import DatabaseSpec, Target


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    """What is asked of deploy."""
    told = Story()
    monkeypatch.setattr(places, "deploy", FakeDeploy(told))
    return told


def cell(**database: object) -> Cell:
    return launches(database=DatabaseSpec(**database))[0].cell  # type: ignore[arg-type]  # any field may be given


def test_a_server_stays_for_as_long_as_cells_ask_for_it(story: Story) -> None:
    with places.places("20261127T000000Z-x-ab12", story.emit) as place_for:
        first = place_for(cell(rows=1))
        assert place_for(cell(rows=1)) is first
        assert place_for(cell(rows=2)) is not first
    assert story.steps == [
        step
        for rows in (1, 2)  # the second server is started when the first one has stopped
        for step in (
            "tell ServerStarting",
            "start import of the app",
            "start embedded postgres:18",
            "stop import of the app",
            "tell DatabaseFilling",
            f"start template of {rows}",
            f"stop template of {rows}",
            "stop embedded postgres:18",
        )
    ]


def test_an_own_app_has_its_own_command_in_its_own_folder_and_never_heroes(story: Story) -> None:
    def own(**database: object) -> Cell:
        one = cell(**database)
        return replace(one, target=replace(one.target, app="shop:app", dir="/srv/shop"))

    with places.places("20261127T000000Z-x-ab12", story.emit) as place_for:
        place_for(own())
        place_for(own(prepare=("make", "db")))
        place_for(own(prepare=(("make", "db"), ("make", "rows"))))
        place_for(cell(prepare=("make", "db")))
    assert [step for step in story.steps if step.startswith("start template")] == [
        "start template of 10000 by [] in /srv/shop",
        "start template of 10000 by [make db] in /srv/shop",
        "start template of 10000 by [make db, make rows] in /srv/shop",
        "start template of 10000 by [make db] in None",
    ]


def test_another_seeding_through_the_service_is_another_template_on_the_same_server(story: Story) -> None:
    def own(app: str, *prepare: str) -> Cell:
        return replace(cell(), target=Target(app=app, prepare=prepare))

    with places.places("20261127T000000Z-x-ab12", story.emit) as place_for:
        first = place_for(own("shop:app", "seed"))
        for number, other in enumerate((own("shop:app", "other"), own("other:app", "seed"), own("shop:app")), start=2):
            assert place_for(own("shop:app", "seed")) is first
            assert place_for(other) is first
            assert sum(step.startswith("start template") for step in story.steps) == number


def test_launches_that_are_hot_together_have_each_its_own_template(story: Story) -> None:
    """Two versions of a service migrate their databases each in its own way."""
    both = [
        replace(each, cell=replace(each.cell, target=Target(app="shop:app", dir=f"/srv/{each.cell.id}")))
        for each in launches()
    ]
    with places.places("20261127T000000Z-x-ab12", story.emit) as place_for, place_for(both[0].cell).databases(both):
        pass
    assert [step for step in story.steps if step.startswith("start template")] == [
        f"start template of 10000 by [] in /srv/{name}" for name in ("c1", "c2")
    ]
    assert story.steps.index("start template of 10000 by [] in /srv/c2") < story.steps.index(
        "start poolbench_ab12_b1_c1 from template_10000"
    )


def test_another_run_at_work_is_told(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.places.deploy.others", 1)
    with places.places("20261127T000000Z-x-ab12", story.emit) as place_for:
        (said,) = story.steps
        assert said.endswith("Another poolbench is at work on this machine: each disturbs the other's figures.")
        place_for(cell(rows=1))
    assert story.steps.count(said) == 1


def test_the_apps_of_all_cells_are_tried_while_the_first_server_starts(story: Story) -> None:
    cells = [launches(target=Target(app=f"{name}:app"))[0].cell for name in "abcb"]
    with places.places("20261127T000000Z-x-ab12", story.emit, cells) as place_for:
        place_for(cells[1])
        assert story.steps.count("start import of the app") == 3
        place_for(cells[0])
        assert story.steps.count("start import of the app") == 3, "the server is the same"


def test_a_server_that_is_not_ours_keeps_its_templates_until_the_end(story: Story) -> None:
    """Cells may come back to them; ours take theirs along."""
    with places.places("20261127T000000Z-x-ab12", story.emit) as place_for:
        for rows in (1, 2):
            place_for(cell(provider="url", rows=rows))
        assert "stop template of 1" not in story.steps
    assert story.stopped[-2:] == ["template of 2", "template of 1"]


def test_launches_have_clones_of_the_template_under_names_of_the_run(story: Story) -> None:
    with places.places("20261127T000000Z-x-ab12", story.emit) as place_for:
        place = place_for(cell(rows=1))
        with place.databases(launches()) as urls:
            place.checkpoint()
        assert list(urls.values()) == [
            f"postgresql://poolbench:a%20password@127.0.0.1:5432/poolbench_ab12_b1_{name}" for name in ("c1", "c2")
        ]
    clones = [f"poolbench_ab12_b1_{name} from template_1" for name in ("c1", "c2")]
    begun = story.steps.index(f"start {clones[0]}")
    assert story.steps[begun : begun + 5] == [
        *(f"start {clone}" for clone in clones),
        "checkpoint of embedded",
        *(f"stop {clone}" for clone in reversed(clones)),
    ]


def test_a_service_that_runs_already_is_given_no_database(story: Story) -> None:
    running = launches(target=Target(url="http://127.0.0.1:1"))
    with places.places("20261127T000000Z-x-ab12", story.emit) as place_for:
        place = place_for(running[0].cell)
        with place.databases(running) as urls:
            place.checkpoint()
    assert urls == {}
    assert story.steps == []
