"""Which project a process works on, and what its files add to those of the platform."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.deploy.declared_deployments import FILE, declared_text
from cli.deploy.deployments import deployed_version
from cli.deploy.dropped_deployments import MADE
from cli.environment import Environment
from cli.new_project import create_project
from cli.upgrade import installed, upgrade, written_for
from local.demo import source
from local.demo.run import run as run_demo
from local.demo.say import Say
from local.stack.credentials import load_credentials
from local.stack.environment import process_environment
from local.stack.local_stack import LocalStack
from local.stack.ports import PREFERRED_PORTS
from millrace.contracts.generated import check, stale
from millrace.contracts.source import load_sources
from millrace.domain.errors import SettingsError
from millrace.project import CODE, MARKER, Project, current_project
from millrace.project_snapshot import version
from millrace.settings import load_settings


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("MILLRACE_PROJECT", raising=False)
    create_project(tmp_path / "shop")
    return Project(tmp_path / "shop")


def own_deployments(project: Project, *deployments: object) -> list[dict[str, Any]]:
    project.prefect_file.write_text(yaml.safe_dump({"deployments": list(deployments)}))
    return list(yaml.safe_load(declared_text(project))["deployments"])


def test_the_nearest_marker_above_counts(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.dbt_project / "models")
    assert current_project() == shop


def test_a_variable_comes_before_the_folder(shop: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLRACE_PROJECT", str(tmp_path))
    monkeypatch.chdir(shop.folder)
    assert current_project().folder == tmp_path
    monkeypatch.setenv("MILLRACE_PROJECT", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="which is not a folder"):
        current_project()


def test_a_checkout_is_a_project_itself(shop: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert current_project().folder == CODE
    monkeypatch.setattr("millrace.project.CHECKOUT", None)
    with pytest.raises(SettingsError, match="millrace init DIR"):
        current_project()


def test_a_new_project_is_whole(shop: Project) -> None:
    check(shop.folder)
    assert (load_sources(shop.sources), written_for(shop)) == ({}, installed())
    texts = {path: path.read_text() for path in shop.folder.rglob("*") if path.is_file()}
    assert not [
        path
        for path, text in texts.items()
        if any(mark in text for mark in ("airport", "flight", "${name", "${version", "${ident"))
    ]
    assert (shop.folder / ".gitignore").exists()
    assert (shop.folder / ".github" / "workflows" / "ci.yaml").exists()


def test_a_folder_with_files_is_refused(shop: Project) -> None:
    with pytest.raises(SettingsError, match=r"is not empty: it has .*Dockerfile"):
        create_project(shop.folder)
    with pytest.raises(SettingsError, match="checkout of the platform"):
        create_project(CODE, force=True)


def test_force_adds_only_what_is_missing(shop: Project) -> None:
    shop.prefect_file.write_text("deployments: []\n# mine\n")
    (shop.folder / "Dockerfile").unlink()
    assert create_project(shop.folder, force=True) == [shop.folder / "Dockerfile"]
    assert "# mine" in shop.prefect_file.read_text()


def test_git_before_the_project_is_no_file(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert tmp_path / MARKER in create_project(tmp_path, "My shop 2")
    assert "my_shop_2:" in (tmp_path / "dbt_project" / "dbt_project.yml").read_text()


def test_own_settings_override_the_platforms(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_PROJECT", str(shop.folder))
    monkeypatch.setenv("MILLRACE_CONFIG", "local")
    before = load_settings()
    (shop.config / "local.toml").write_text("[airbyte]\npoll_s = 7\n")
    assert load_settings() == before.model_copy(update={"airbyte": before.airbyte.model_copy(update={"poll_s": 7})})
    (shop.config / "local.toml").write_text("[airbyte]\npoll = 7\n")
    with pytest.raises(SettingsError, match=r"shop/config/local\.toml.*airbyte\.poll"):
        load_settings()


def test_own_deployment_replaces_keys(shop: Project) -> None:
    base = {item["name"]: item for item in yaml.safe_load(FILE.read_text())["deployments"]}
    schedule = {"schedules": [{"cron": "0 * * * *", "timezone": "UTC", "active": True}]}
    declared = {item["name"]: item for item in own_deployments(shop, {"name": "merge", **schedule})}
    tagged = {name: item | {"tags": [*item["tags"], MADE]} for name, item in base.items()}
    assert declared == tagged | {"merge": tagged["merge"] | schedule}


def test_own_deployment_is_added_whole(shop: Project) -> None:
    own = {"name": "ingest-shop", "entrypoint": "flows/ingest.py:ingest", "parameters": {"source": "shop"}}
    added = own_deployments(shop, own)[-1]
    assert added.items() >= own.items()
    assert added["tags"] == [MADE]
    assert added["work_pool"] == {"name": "{{ $MILLRACE_WORK_POOL }}"}
    with pytest.raises(SettingsError, match="'nightly' is none of the platform's"):
        own_deployments(shop, {"name": "nightly"})
    with pytest.raises(SettingsError, match="a list of deployments"):
        own_deployments(shop, "ingest")
    with pytest.raises(SettingsError, match="'ingest-shop': tags is 'shop'; expected a list"):
        own_deployments(shop, own | {"tags": "shop"})


def test_repairs_name_the_project(shop: Project) -> None:
    assert Environment(shop.folder, shop.state).command.endswith("millrace")
    named = Environment(shop.folder, shop.state, project_option=True).command
    assert named.endswith(f"millrace --project {shop.folder}")


def test_upgrade_writes_what_is_stale(shop: Project) -> None:
    merged = shop.dbt_project / "macros" / "merged.sql"
    merged.write_text("-- of an older version")
    shop.marker.write_text(shop.marker.read_text().replace(f'version = "{installed()}"', 'version = "0.0.1"'))
    assert upgrade(shop) == [merged, shop.marker]
    assert (stale(shop.folder), written_for(shop)) == ([], installed())
    shop.marker.write_text(shop.marker.read_text().replace(str(installed()), "99.0"))
    with pytest.raises(SettingsError, match="install millrace 99"):
        upgrade(shop)


@pytest.mark.slow
def test_dbt_parses_a_new_project(shop: Project) -> None:
    folders = ("--project-dir", str(shop.dbt_project), "--profiles-dir", str(shop.dbt_project))
    dbt = Path(sys.executable).with_name("dbt")
    done = subprocess.run([dbt, "parse", *folders], cwd=shop.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_other_projects_see_no_demo(shop: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, dict(PREFERRED_PORTS))
    monkeypatch.setenv("MILLRACE_PROJECT", str(shop.folder))
    assert source.PASSWORD_SECRET not in load_credentials(stack)
    assert "AIRPORT_OPS_DATABASE" not in process_environment(stack)
    source.provision(tmp_path, {})
    assert not stack.database.exists()
    with pytest.raises(SettingsError, match="start your own project with `millrace up`"):
        run_demo(tmp_path, 1, leave=True, say=Say())


@pytest.mark.demo
def test_the_checkouts_project_has_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MILLRACE_PROJECT", raising=False)
    stack = LocalStack(tmp_path, dict(PREFERRED_PORTS))
    assert source.PASSWORD_SECRET in load_credentials(stack)
    assert process_environment(stack)["AIRPORT_OPS_DATABASE"] == str(stack.database)


def test_deployed_version_names_the_platform(shop: Project) -> None:
    assert deployed_version(shop) == f"{version(shop)} on millrace {installed()}"
    assert deployed_version(Project(CODE)) == version(Project(CODE))
