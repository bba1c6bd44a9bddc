"""The dbt project as dbt parses it: its layers, its contracts, and a build of an empty warehouse."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from millrace.contracts.source import load_sources
from millrace.domain import names
from millrace.quality.gate import validate
from millrace.quality.suites import load_suites
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from tests.support.servers import ROOT

pytestmark = pytest.mark.demo

Json = dict[str, Any]

PROJECT = ROOT / "dbt_project"
SUITES = ROOT / "expectations"
MAY_READ = {
    "staging": {"sources"},
    "intermediate": {"staging", "intermediate"},
    "marts": {"intermediate", "marts"},
}
# Dimensions only rename columns of staging; cancelled flights are in no other model.
READS_STAGING = {
    "dim_airline": {"stg_airlines"},
    "dim_airport": {"stg_airports"},
    "dim_plane": {"stg_planes"},
    "airline_punctuality_daily": {"stg_cancelled_flights"},
}
UNIQUE = {"unique": "column_name", "unique_together": "columns"}


def dbt(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run dbt in a subprocess on a warehouse that has every stream and no row."""
    warehouse = DuckDBWarehouse(f"duckdb:///{folder}/warehouse.duckdb", f"duckdb:///{folder}/published.duckdb")
    for source in load_sources(ROOT / "sources").values():
        for stream in source.streams.values():
            warehouse.ensure(stream)
    own = {"DBT_TARGET_PATH": f"{folder}/target", "DBT_LOG_PATH": f"{folder}/logs", "PYTHONWARNINGS": "ignore"}
    warehouse.begin_candidate("empty", empty=True)
    environment = {**os.environ, **warehouse.dbt_environment("empty"), **own}
    places = ("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT))
    return subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", *command, *places],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the candidate that dbt built from nothing, and with dbt's manifest."""
    folder = tmp_path_factory.mktemp("dbt")
    process = dbt(folder, "build")
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-1000:]
    assert "deprecat" not in process.stdout.lower(), process.stdout
    return folder


@pytest.fixture(scope="module")
def manifest(built: Path) -> Json:
    return dict(json.loads((built / "target" / "manifest.json").read_text()))


def models(manifest: Json, layer: str = "") -> dict[str, Json]:
    """Return the models by name."""
    nodes = (n for n in manifest["nodes"].values() if n["resource_type"] == "model")
    return {n["name"]: n for n in nodes if layer in n["fqn"] or not layer}


def layer_of(manifest: Json, node: str) -> str:
    return "sources" if node.startswith("source.") else str(manifest["nodes"][node]["fqn"][1])


def short_names(nodes: Iterable[str]) -> set[str]:
    return {node.rsplit(".", 1)[-1] for node in nodes}


@pytest.mark.parametrize("layer", MAY_READ)
def test_layer_reads_only_the_one_below(manifest: Json, layer: str) -> None:
    assert models(manifest, layer)
    for name, model in models(manifest, layer).items():
        upward = {n for n in model["depends_on"]["nodes"] if layer_of(manifest, n) not in MAY_READ[layer]}
        assert short_names(upward) == READS_STAGING.get(name, set()), name


def test_every_model_is_in_a_layer_and_described(manifest: Json) -> None:
    for name, model in models(manifest).items():
        assert model["fqn"][1] in MAY_READ, name
        assert model["description"], name
        assert (PROJECT / model["original_file_path"]).with_suffix(".yml").exists(), name


def test_staging_has_one_model_per_table_it_reads(manifest: Json) -> None:
    for name, model in models(manifest, "staging").items():
        assert len(model["depends_on"]["nodes"]) == 1, name


def test_sources_are_the_streams_with_freshness(manifest: Json) -> None:
    streams = {s.id: s for source in load_sources(ROOT / "sources").values() for s in source.streams.values()}
    tables = {f"{table['source_name']}.{table['name']}": table for table in manifest["sources"].values()}
    assert set(tables) == set(streams)
    for name, table in tables.items():
        assert table["schema"] == names.raw_schema(streams[name].source)
        assert table["loaded_at_field"] == "_extracted_at"
        limit = (table["freshness"] or {}).get("error_after") or {}
        seconds = limit.get("count") and limit["count"] * {"minute": 60, "hour": 3600, "day": 86400}[limit["period"]]
        assert seconds == streams[name].freshness_s, name
        assert set(table["columns"]) == set(streams[name].columns)


def test_every_mart_enforces_its_columns(manifest: Json) -> None:
    for name, mart in models(manifest, "marts").items():
        assert mart["config"]["contract"]["enforced"], name
        assert mart["config"]["materialized"] in ("table", "incremental", "view"), name
        silent = [c["name"] for c in mart["columns"].values() if not (c["description"] and c["data_type"])]
        assert (name, silent) == (name, [])


def test_every_mart_has_a_key_that_is_tested(manifest: Json) -> None:
    keys: dict[str, list[str]] = {}
    whole: set[str] = set()
    for node in manifest["nodes"].values():
        kind = (node.get("test_metadata") or {}).get("name")
        if kind in UNIQUE:
            unique_columns = node["test_metadata"]["kwargs"][UNIQUE[kind]]
            name = str(node["attached_node"]).rsplit(".", 1)[-1]
            keys[name] = [unique_columns] if isinstance(unique_columns, str) else unique_columns
            if kind == "unique_together":  # which rejects nulls too
                whole.add(name)
    assert set(keys) == set(models(manifest, "marts"))
    for name in set(keys) - whole:
        key = keys[name]
        columns = models(manifest, "marts")[name]["columns"]
        assert [c for c in key if not never_null(manifest, name, columns[c])] == [], name


def never_null(manifest: Json, mart: str, column: Json) -> bool:
    """Return whether the contract or a test keeps a column free of nulls."""
    tests = [
        node["test_metadata"]["kwargs"].get("column_name")
        for node in manifest["nodes"].values()
        if (node.get("test_metadata") or {}).get("name") == "not_null" and node["attached_node"].endswith(f".{mart}")
    ]
    return column["name"] in tests or "not_null" in [c["type"] for c in column["constraints"]]


def test_exposures_use_exactly_published_marts(manifest: Json) -> None:
    marts = {model["unique_id"] for model in models(manifest, "marts").values()}
    used: set[str] = set()
    for name, exposure in manifest["exposures"].items():
        assert set(exposure["depends_on"]["nodes"]) <= marts, name
        assert exposure["owner"]["email"], name
        used |= set(exposure["depends_on"]["nodes"])
    assert used == marts


def test_mart_expectations_name_existing_columns(manifest: Json) -> None:
    marts = models(manifest, "marts")
    suites = {suite.mart: suite for suite in load_suites(SUITES)}
    assert set(suites) == set(marts)
    for mart, suite in suites.items():
        for expected in suite.expectations:
            columns = [expected.args.get(key) for key in ("column", "column_A", "column_B")]
            columns += expected.args.get("column_list", [])
            assert {a for a in columns if a} <= set(marts[mart]["columns"]), (mart, expected.type)


def test_empty_warehouse_has_only_unknown_members(built: Path, manifest: Json) -> None:
    with duckdb.connect(str(built / "candidates" / "empty.duckdb"), read_only=True) as db:
        rows = {mart: db.table(f"marts.{mart}").count("*").fetchall()[0][0] for mart in models(manifest, "marts")}
        assert rows == {mart: int(mart.startswith("dim_")) for mart in rows}
        assert db.execute("SELECT airline_key, is_known FROM marts.dim_airline").fetchall() == [("unknown", False)]


def test_gate_passes_empty_marts_with_a_warning(built: Path) -> None:
    report = validate(f"duckdb:///{built}/candidates/empty.duckdb", load_suites(SUITES))
    assert report.failed("stop") == ()
    warned = {(r.suite, r.expectation, r.observed) for r in report.failed("warn")}
    count = "expect_table_row_count_to_be_between"
    assert warned == {("fct_flights", count, "0"), ("airline_punctuality_daily", count, "0")}
