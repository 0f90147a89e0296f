"""`target.ref`: what the name of a commit means is found once, as the experiment is read, in a real repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from repositories import commit, git_in, repository

from harness.codec import decode, encode
from harness.domain.experiment import Experiment
from harness.errors import UsageError
from harness.plan import expand, load_experiment, with_secrets, without_secrets

EXPERIMENT = """\
schema_version = 1
name = "versions"
[target]
app = "shop:app"
dir = "{folder}"
[load]
rate_rps = 10
"""
SIDES = '[arms.base]\ntarget.ref = "main"\n[arms.head]\n'


def read(tmp_path: Path, more: str = SIDES, *overrides: str, folder: str = "shop/service") -> Experiment:
    (tmp_path / "one.toml").write_text(EXPERIMENT.format(folder=folder) + more)
    return load_experiment(tmp_path / "one.toml", overrides)


@pytest.fixture
def shop(tmp_path: Path) -> tuple[str, ...]:
    """A repository with two commits, and a tag at the first."""
    versions = repository(tmp_path / "shop", {"service/shop.py": "1"}, {"service/shop.py": "2"})
    git_in(tmp_path / "shop", "tag", "v1.0", versions[0])
    return versions


def test_a_branch_is_the_commit_that_it_is_at_now(tmp_path: Path, shop: tuple[str, ...]) -> None:
    base, head = expand(read(tmp_path))
    assert (base.label, base.target.ref, base.commit) == ("base", "main", shop[1])
    assert (head.label, head.target.ref, head.commit) == ("head", None, "")
    assert base.target.dir == head.target.dir == str(tmp_path / "shop" / "service")


def test_versions_can_be_varied_and_set(tmp_path: Path, shop: tuple[str, ...]) -> None:
    varied = expand(read(tmp_path, f'[matrix]\ntarget.ref = ["v1.0", "{shop[1][:8]}"]'))
    assert [(cell.label, cell.commit) for cell in varied] == [
        ("ref v1.0", shop[0]),
        (f"ref {shop[1][:8]}", shop[1]),
    ]
    (single,) = expand(read(tmp_path, "", "target.ref=main~1"))
    assert (single.target.ref, single.commit) == ("main~1", shop[0])


def test_a_run_that_is_stored_keeps_its_commit_when_the_branch_moves(tmp_path: Path, shop: tuple[str, ...]) -> None:
    stored = decode(Experiment, encode(without_secrets(read(tmp_path))))
    commit(tmp_path / "shop", {"service/shop.py": "3"})
    assert expand(with_secrets(stored))[0].commit == shop[1]
    again = read(tmp_path)
    assert again.commits["main"] != shop[1]
    assert expand(with_secrets(stored, again))[0].commit == shop[1]
    with pytest.raises(UsageError, match=r"not the experiment that the run was started with: arms differ"):
        with_secrets(stored, read(tmp_path, SIDES.replace("main", "v1.0")))


def test_a_service_without_a_folder_is_that_of_the_current_one(
    tmp_path: Path, shop: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "shop")
    (tmp_path / "one.toml").write_text(EXPERIMENT.replace('dir = "{folder}"\n', "") + SIDES)
    assert expand(load_experiment(tmp_path / "one.toml"))[0].commit == shop[1]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            SIDES.replace("main", "mian"),
            r"one\.toml:9: There is no commit, branch or tag mian in /.*/shop\. Did you mea",
        ),
        (SIDES.replace("main", "1.0"), r"there is no .* tag 1\.0 .*Did you mean v1\.0\?"),
        (SIDES.replace("main", "0123abc"), r"no commit, branch or tag 0123abc .*There are main, v1\.0\."),
        (SIDES.replace("main", "--all"), r"no commit, branch or tag --all "),
        (SIDES.replace("main", ""), r"one\.toml:9: target\.ref must be "),
        ('[matrix]\ntarget.ref = ["main", "nothing"]', r"one\.toml:9: There is no commit, branch or tag nothing"),
    ],
)
def test_a_name_that_means_nothing(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?i){said}"):
        read(tmp_path, more)


def test_a_clone_has_the_branches_of_its_origin_under_other_names(tmp_path: Path, shop: tuple[str, ...]) -> None:
    git_in(tmp_path / "shop", "branch", "release")
    git_in(tmp_path, "clone", "--quiet", str(tmp_path / "shop"), "clone")
    git_in(tmp_path / "clone", "branch", "releases")  # looks more like it, and is another
    with pytest.raises(UsageError, match=r"no .* release in .* Did you mean origin/release\?"):
        read(tmp_path, SIDES.replace("main", "release"), folder="clone/service")
    git_in(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{tmp_path}/shop", "shallow")
    with pytest.raises(UsageError, match=r"shallow: git fetch --unshallow gets the rest \(.*fetch-depth: 0\)"):
        read(tmp_path, SIDES.replace("main", shop[0]), folder="shallow/service")


def test_a_folder_that_is_in_no_repository(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match=r"one\.toml:9: The folder /.*/plain is in no git repository.*target\.dir"):
        read(tmp_path, folder="plain")


def test_a_folder_that_the_commit_does_not_have(tmp_path: Path, shop: tuple[str, ...]) -> None:
    commit(tmp_path / "shop", {"later/shop.py": "3"})
    with pytest.raises(
        UsageError, match=rf"one\.toml:9: The commit {shop[0][:10]} \(v1\.0\) of /.*/shop has no folder lat"
    ):
        read(tmp_path, SIDES.replace("main", "v1.0"), folder="shop/later")


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    repository(tmp_path / "empty")
    with pytest.raises(UsageError, match=r"no commit, branch or tag main in /.*/empty\. It has no branch and no tag\."):
        read(tmp_path, folder="empty")


def test_a_name_that_means_two_commits(tmp_path: Path, shop: tuple[str, ...]) -> None:
    (other,) = repository(tmp_path / "other", {"service/shop.py": "another shop"})
    assert other not in shop
    with pytest.raises(UsageError, match=r"target\.ref main means another commit in /.*/other/service than"):
        read(tmp_path, SIDES + 'target.ref = "main"\ntarget.dir = "other/service"')


@pytest.mark.usefixtures("shop")
def test_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"one\.toml:9: There is no git on the PATH, and target\.ref needs one\."):
        read(tmp_path)


def test_within_a_hook_of_another_repository(
    tmp_path: Path, shop: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "other", {"a": "1"})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert expand(read(tmp_path))[0].commit == shop[1]


def test_what_was_found_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('commits = { main = "abc" }\n' + EXPERIMENT.format(folder="."))
    with pytest.raises(UsageError, match=r"one\.toml:1: unknown key 'commits'"):
        load_experiment(tmp_path / "one.toml")
