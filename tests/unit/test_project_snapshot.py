"""The copy of a project that a stack runs from."""

import subprocess
from pathlib import Path

import pytest

from millrace.project import Project
from millrace.project_snapshot import KEPT, deploy_snapshot, deployed_project, digest, take_snapshot, version


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    project = Project(tmp_path / "shop")
    project.sources.mkdir(parents=True)
    (project.sources / "shop.yaml").write_text("one")
    return project


def test_saving_changes_nothing_until_deployed(shop: Project) -> None:
    deploy_snapshot(take_snapshot(shop, shop.state), shop.state)
    running = deployed_project(shop.state) / "sources" / "shop.yaml"
    (shop.sources / "shop.yaml").write_text("two")
    assert running.read_text() == "one"
    began = Project(deployed_project(shop.state).resolve())
    deploy_snapshot(take_snapshot(shop, shop.state), shop.state)
    assert running.read_text() == "two"
    assert (began.sources / "shop.yaml").read_text() == "one"  # for a run that is under way


def test_digest_is_of_the_files_only(shop: Project, tmp_path: Path) -> None:
    before = digest(shop)
    for name in (".millrace/x", "dbt_project/target/manifest.json", "README.md", "sources/__pycache__/x.pyc"):
        (shop.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shop.folder / name).write_text("x")
    assert digest(shop) == before == digest(take_snapshot(shop, tmp_path / "state"))
    for name in ("dbt_project/models/target/a.sql", "dbt_project/models/logs/a.sql"):
        (shop.folder / name).parent.mkdir(parents=True)
        (shop.folder / name).write_text("select 1")
        assert digest(shop) != before
        before = digest(shop)
    (shop.sources / "shop.yaml").rename(shop.sources / "other.yaml")
    assert digest(shop) != before


def test_a_deleted_file_leaves_the_copy(shop: Project) -> None:
    (shop.sources / "old.yaml").write_text("old")
    deploy_snapshot(take_snapshot(shop, shop.state), shop.state)
    (shop.sources / "old.yaml").unlink()
    deploy_snapshot(take_snapshot(shop, shop.state), shop.state)
    assert [path.name for path in (deployed_project(shop.state) / "sources").iterdir()] == ["shop.yaml"]


def test_old_copies_are_deleted(shop: Project) -> None:
    for number in range(KEPT + 3):
        (shop.sources / "shop.yaml").write_text(str(number))
        deploy_snapshot(take_snapshot(shop, shop.state), shop.state)
    assert len(list((shop.state / "projects").iterdir())) == KEPT
    assert (deployed_project(shop.state) / "sources" / "shop.yaml").read_text() == str(KEPT + 2)


def test_version_is_the_commit_or_digest(shop: Project, tmp_path: Path) -> None:
    assert version(shop) == digest(shop)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(shop.folder)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    commit = version(shop)
    assert subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.startswith(commit)
    (shop.sources / "shop.yaml").write_text("two")
    assert version(shop) == f"{commit}-dirty.{digest(shop)[:8]}"
    assert version(take_snapshot(shop, tmp_path / "state")) == version(shop)
