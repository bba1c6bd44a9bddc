"""A project in; the columns of its marts with their types out: from dbt's files, or from a build without rows."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from millrace.contracts.source import load_sources
from millrace.domain.errors import ContractError
from millrace.domain.quality import Expected
from millrace.project import Project
from millrace.quality.fit import misfits
from millrace.quality.suites import load_suites
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from tasks.model.dbt import build_failures, dbt_variables

Columns = dict[str, str]
TABLES = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'marts'"


def check_expectations(project: Project) -> None:
    """Raise ContractError when an expectation names no column of its table, or can't test one of its type."""
    wrong = [*_of_streams(project), *_of_marts(project)]
    if wrong:
        raise ContractError("\n".join(["these expectations can never be evaluated:", *wrong]))


def _of_streams(project: Project) -> Iterable[str]:
    for source in load_sources(project.sources).values():
        for stream in source.streams.values():
            columns = {name: column.type for name, column in stream.columns.items()}
            for why in misfits(stream.expectations, columns):
                yield f"sources/{source.source}.yaml, stream {stream.stream}: {why}"


def _of_marts(project: Project) -> Iterable[str]:
    if not project.expectations.is_dir() or not any(project.expectations.glob("*.yaml")):
        return
    suites = {suite.mart: suite.expectations for suite in load_suites(project.expectations)}
    columns = typed_marts(project.dbt_project)
    if untyped := {mart for mart in suites if not _is_typed(suites[mart], columns.get(mart))}:
        columns |= built_columns(project, untyped)
    for mart, expectations in suites.items():
        if mart not in columns:
            yield f"expectations/{mart}.yaml: the dbt project has no mart {mart!r}"
            continue
        for why in misfits(expectations, columns[mart]):
            yield f"expectations/{mart}.yaml: {why}"


def _is_typed(expectations: Iterable[Expected], columns: Columns | None) -> bool:
    return columns is not None and all(columns.get(name) for expected in expectations for name in expected.columns)


def typed_marts(dbt_project: Path) -> dict[str, Columns]:
    """Return the columns that the properties of models declare, by model; '' is the type of one without type."""
    marts: dict[str, Columns] = {}
    for path in sorted((dbt_project / "models").rglob("*.y*ml")):
        for model in _models(path):
            declared = {str(c["name"]): _data_type(c) for c in model.get("columns") or [] if "name" in c}
            marts[str(model.get("name"))] = declared
    return marts


def _models(path: Path) -> list[dict[str, Any]]:
    try:
        properties = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: {error}") from None
    return [m for m in (properties or {}).get("models") or [] if isinstance(m, dict)]


def _data_type(column: dict[str, Any]) -> str:
    """Return the type of a column; one that differs between engines (`{{ … }}`) is that of its last word in quotes."""
    written = str(column.get("data_type") or "")
    return written.split("'")[-2] if written.startswith("{{") and "'" in written else written


def built_columns(project: Project, marts: Collection[str]) -> dict[str, Columns]:
    """Return the columns of marts as dbt builds them in DuckDB from tables without rows.

    Raises:
        ContractError: dbt can't build one of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        warehouse = DuckDBWarehouse(f"duckdb:///{folder}/warehouse.duckdb", f"duckdb:///{folder}/published.duckdb")
        for source in load_sources(project.sources).values():
            for stream in source.streams.values():
                warehouse.ensure(stream)
        warehouse.begin_candidate("empty", empty=True)
        folders = ["--project-dir", str(project.dbt_project), "--profiles-dir", str(project.dbt_project)]
        folders += ["--target-path", folder, "--log-path", folder]
        select = ["--select", *(f"+{mart}" for mart in sorted(marts))]
        command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "run", *select, *folders]
        with dbt_variables(warehouse.dbt_environment("empty")):  # in a process of its own: dbt keeps the database open
            run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own
        if run.returncode:
            why = "; ".join(build_failures(Path(folder)).values()) or run.stdout.strip() or run.stderr.strip()
            raise ContractError(f"dbt can't build {', '.join(sorted(marts))} from empty tables: {why}")
        return _columns_of(warehouse, "empty", Path(folder))


def _columns_of(warehouse: DuckDBWarehouse, candidate: str, target: Path) -> dict[str, Columns]:
    import duckdb

    nodes = json.loads((target / "manifest.json").read_text())["nodes"].values()
    names = {node.get("alias") or node["name"]: node["name"] for node in nodes if node["resource_type"] == "model"}
    columns: dict[str, Columns] = {}
    with duckdb.connect(warehouse.dbt_environment(candidate)["MILLRACE_CANDIDATE_PATH"], read_only=True) as db:
        for table, column, data_type in db.execute(TABLES).fetchall():
            columns.setdefault(names.get(table, table), {})[column] = data_type
    return columns
