"""Files of the marts for other readers: DuckDB's in a version that older ones open, and Parquet beside the site."""

import json
import os
import subprocess
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from millrace.domain import names
from millrace.domain.errors import MartsMissing
from millrace.lake.store import Lake
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.duckdb.marts import Marts
from millrace.warehouse.duckdb.storage import is_readable
from millrace.warehouse.engines import export_marts
from tasks.model.export_marts import KEPT, _write_index
from tests.support.servers import ROOT

UV = ROOT / ".venv" / "bin" / "uv"
READ = """
import duckdb, sys
db = duckdb.connect(sys.argv[1], read_only=True)
query = "SELECT count(*), sum(price), max(sold_at), min(tags) FROM marts.orders"
print(duckdb.__version__, db.execute(query).fetchone(), db.execute("SELECT count(*) FROM marts.dear").fetchone())
"""
MARTS = """
CREATE SCHEMA marts;
CREATE TABLE marts.orders AS SELECT range AS id, (range / 100)::DECIMAL(18, 4) AS price,
  TIMESTAMPTZ '2026-01-01 12:00:00+00' AS sold_at, ['a', 'b'] AS tags, {'city': 'x'} AS address FROM range(1000);
CREATE VIEW marts.dear AS SELECT * FROM marts.orders WHERE price > 9;
"""


@pytest.fixture
def marts(tmp_path: Path) -> Marts:
    return Marts(tmp_path / "warehouse.duckdb", tmp_path / "published.duckdb", 1, 5)


def publish(marts: Marts, candidate: str = "first", *, empty: bool = True, sql: str = MARTS) -> None:
    marts.begin_candidate(candidate, empty=empty)
    with duckdb.connect(str(marts.candidate(candidate))) as db:
        db.execute(sql)
    marts.publish(candidate)


def settings(folder: Path) -> WarehouseSettings:
    return WarehouseSettings(
        url=f"duckdb:///{folder}/warehouse.duckdb", marts_url=f"duckdb:///{folder}/published.duckdb"
    )


def test_published_file_keeps_its_storage_version(marts: Marts, tmp_path: Path) -> None:
    file = tmp_path / "published.duckdb"
    publish(marts)
    assert is_readable(file)
    publish(marts, "second", empty=False, sql="CREATE TABLE marts.more AS FROM range(10)")
    assert is_readable(file)
    assert marts.rows() == {"orders": 1000, "dear": 99, "more": 10}


def test_marts_of_an_older_platform_become_readable(marts: Marts, tmp_path: Path) -> None:
    file = tmp_path / "published.duckdb"
    with duckdb.connect(str(file)) as db:
        db.execute(f"{MARTS}; CREATE SCHEMA ops")
        db.execute("CREATE TABLE ops.millrace_candidate AS SELECT 'old' AS candidate, '' AS base")
    assert not is_readable(file)
    publish(marts, "second", empty=False, sql="CREATE TABLE marts.more AS FROM range(10)")
    assert is_readable(file)
    assert marts.rows() == {"orders": 1000, "dear": 99, "more": 10}


@pytest.mark.long
@pytest.mark.parametrize("version", ["1.2.2", "1.5.*"])
def test_marts_open_in_older_duckdb(marts: Marts, tmp_path: Path, version: str) -> None:
    publish(marts)
    publish(marts, "second", empty=False, sql="CREATE TABLE marts.more AS FROM range(10)")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([UV, "venv", "-q", tmp_path / "venv"], check=True)
    install = [UV, "pip", "install", "-q", "--python", python, f"duckdb=={version}", "pytz"]
    installed = subprocess.run(install, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"the package index can't be reached: {installed.stderr.strip().splitlines()[-1]}")
    env = {"PATH": os.environ["PATH"], "TZ": "UTC"}
    read = subprocess.run([python, "-c", READ, tmp_path / "published.duckdb"], capture_output=True, text=True, env=env)
    assert read.returncode == 0, read.stderr
    assert read.stdout.startswith(version.rstrip("*"))
    assert "(1000, Decimal('4995.0000')" in read.stdout
    assert "(99,)" in read.stdout


def test_export_has_every_mart_exactly(marts: Marts, tmp_path: Path) -> None:
    with pytest.raises(MartsMissing, match="nothing is published"):
        export_marts(settings(tmp_path), tmp_path)
    publish(marts)
    with duckdb.connect(str(tmp_path / "published.duckdb")) as db:
        db.execute("CREATE TABLE marts.by_hand AS SELECT 1 AS a")
    files = export_marts(settings(tmp_path), tmp_path)
    assert [file.name for file in files] == ["dear.parquet", "orders.parquet"]
    with duckdb.connect(str(tmp_path / "published.duckdb"), read_only=True) as db:
        expected = db.sql("FROM marts.orders ORDER BY id").to_arrow_table().to_pylist()
    assert sorted(pq.read_table(files[1]).to_pylist(), key=lambda row: row["id"]) == expected


def test_index_names_the_newest_publication(lake: Lake, marts: Marts, tmp_path: Path) -> None:
    publish(marts)
    for candidate in ("one", "two", "three"):
        files = export_marts(settings(tmp_path), tmp_path)
        for file in files:
            lake.upload(f"{names.MARTS_EXPORT}{candidate}/{file.name}", str(file))
        _write_index(lake, candidate, files)
    index = json.loads(lake.read(f"{names.MARTS_EXPORT}index.json"))
    assert (index["publication"], index["publications"]) == ("three", ["three", "two"])
    assert index["marts"]["orders"]["rows"] == 1000
    objects = [info.name.removeprefix(names.MARTS_EXPORT) for info in lake.list(names.MARTS_EXPORT)]
    exported = [f"{candidate}/{mart}.parquet" for candidate in ("three", "two") for mart in ("dear", "orders")]
    assert objects == ["index.json", *exported]
    assert KEPT == 2
    assert index["marts"]["orders"]["url"] == f"{lake.url}/{names.MARTS_EXPORT}three/orders.parquet"
