"""The fakes behave as what they stand for, as far as a sitting can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from contracts import (
    BetweenContract,
    Blocks,
    DistancesContract,
    DriverContract,
    ObservationContract,
    PlaceContract,
    ProviderContract,
    SamplerContract,
    ServerLogContract,
    TargetsContract,
    launches,
    load_plan,
)
from fakes import FakeDeploy, FakeDrive, FakeObserve, FakePlace, FakeProvider, FakeSampler, Story

from harness.deploy import TargetStart
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec
from harness.domain.load import LoadPlan

URLS = {launch.id: f"postgresql://localhost/{launch.id}" for launch in launches()}


@pytest.fixture
def story() -> Story:
    return Story()


class TestFakeProvider(ProviderContract):
    @pytest.fixture(params=["embedded", "container", "url"])
    def spec(self, request: pytest.FixtureRequest) -> DatabaseSpec:
        return DatabaseSpec(provider=request.param)

    @pytest.fixture
    def server(self, story: Story, spec: DatabaseSpec) -> Iterator[Server]:
        with FakeProvider(story).start(spec) as started:
            yield started


class TestFakePlace(PlaceContract):
    @pytest.fixture
    def place(self, story: Story) -> FakePlace:
        return FakePlace(story)


class TestFakeDistances(DistancesContract):
    @pytest.fixture
    def urls(self) -> Mapping[str, str]:
        return URLS

    @pytest.fixture
    def between(self, story: Story) -> Blocks:
        return lambda both, urls: FakeDeploy(story).distances(None, both, urls)


class TestFakeBouncers(BetweenContract):
    @pytest.fixture
    def urls(self) -> Mapping[str, str]:
        return URLS

    @pytest.fixture
    def between(self, story: Story) -> Blocks:
        return FakeDeploy(story).bouncers


class TestFakeTargets(TargetsContract):
    @pytest.fixture
    def start_all(self, story: Story) -> Blocks:
        return FakeDeploy(story).start_all

    @pytest.fixture
    def starts(self, tmp_path: Path) -> Sequence[TargetStart]:
        return [
            TargetStart(launch=launch, database_url=URLS[launch.id], probe_dir=tmp_path, log=tmp_path / "log")
            for launch in launches()
        ]


class TestFakeDriver(DriverContract):
    @pytest.fixture
    def start(self, story: Story) -> Blocks:
        return FakeDrive(story).start

    @pytest.fixture
    def plan(self, tmp_path: Path) -> LoadPlan:
        return load_plan(tmp_path, "http://b1-c1", tmp_path / "scenario.py")

    def is_gone(self, generator: Any) -> bool:
        return generator.story.stopped == generator.story.started == ["generator"]


class TestFakeSampler(SamplerContract):
    @pytest.fixture
    def sampler(self) -> FakeSampler:
        return FakeSampler()

    @pytest.fixture
    def columns(self) -> Sequence[str]:
        return ["number"]


class TestFakeObservation(ObservationContract):
    @pytest.fixture
    def observe(self, story: Story) -> Blocks:
        return FakeObserve(story).observe


class TestFakeServerLog(ServerLogContract):
    @pytest.fixture
    def server_log(self, story: Story) -> Blocks:
        return FakeObserve(story).server_log
