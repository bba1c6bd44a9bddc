"""The digest by which a parsed manifest is kept: what changes it, and what does not."""

from pathlib import Path

import pytest

from tasks.model.manifest_key import manifest_key

SETTINGS = "name: shop\nmodel-paths: [models, ../shared]\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with a model that reads a variable, a package that is a link, and models outside."""
    project = tmp_path / "dbt_project"
    for folder in ("models", "target", "dbt_packages"):
        (project / folder).mkdir(parents=True)
    (tmp_path / "shared").mkdir()
    (tmp_path / "package").mkdir()
    (project / "dbt_packages" / "package").symlink_to(tmp_path / "package")
    (project / "dbt_project.yml").write_text(SETTINGS)
    (project / "models" / "sales.sql").write_text("select {{ env_var('RATE', '1') }} as rate")
    return project


@pytest.mark.parametrize(
    "path",
    [
        "models/sales.sql",
        "models/new.yml",
        "dbt_packages/package/macros.sql",
        "../shared/visits.sql",
        "profiles.yml",
        "models/target/model.sql",
    ],
)
def test_every_file_that_dbt_reads_counts(project: Path, path: str) -> None:
    before = manifest_key(project, {})
    (project / path).parent.mkdir(exist_ok=True)
    (project / path).write_text("select 2")
    assert manifest_key(project, {}) != before


def test_what_dbt_writes_does_not_count(project: Path) -> None:
    before = manifest_key(project, {})
    (project / "target" / "manifest.json").write_text("{}")
    assert manifest_key(project, {}) == before


def test_variables_that_the_project_names_count(project: Path) -> None:
    before = manifest_key(project, {"RATE": "1", "HOME": "/a", "DBT_TARGET_PATH": "a"})
    assert manifest_key(project, {"RATE": "1", "HOME": "/b", "DBT_TARGET_PATH": "b"}) == before
    assert manifest_key(project, {"RATE": "2"}) != before
    assert manifest_key(project, {"RATE": "1", "DBT_WARN_ERROR": "true"}) != before


@pytest.mark.parametrize("named", ["'{{ env_var(''HOME'', '''') }}'", r'"{{ env_var( \"HOME\" ) }}"'])
def test_quotes_of_yaml_are_understood(project: Path, named: str) -> None:
    (project / "models" / "sales.yml").write_text(f"schema: {named}")
    before = manifest_key(project, {"HOME": "/a", "SHELL": "a"})
    assert manifest_key(project, {"HOME": "/a", "SHELL": "b"}) == before
    assert manifest_key(project, {"HOME": "/b", "SHELL": "a"}) != before


@pytest.mark.parametrize("name", ["prefix ~ 'RATE'", "'RATE' ~ suffix"])
def test_computed_name_makes_every_variable_count(project: Path, name: str) -> None:
    (project / "models" / "sales.sql").write_text(f"select {{{{ env_var({name}) }}}} as rate")
    assert manifest_key(project, {"HOME": "/a"}) != manifest_key(project, {"HOME": "/b"})


def test_version_of_dbt_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = manifest_key(project, {})
    monkeypatch.setattr("tasks.model.manifest_key.version", lambda package: f"{package} 99")
    assert manifest_key(project, {}) != before


def test_place_of_the_project_counts(project: Path) -> None:
    before = manifest_key(project, {})
    assert manifest_key(project.rename(project.with_name("moved")), {}) != before
