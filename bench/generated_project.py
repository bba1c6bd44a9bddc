"""The numbers of models, tests and streams in; a dbt project of that size and its merged tables out."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
import yaml

from millrace.contracts import generated

ROWS = 100
COLUMN_TESTS = (("id", "not_null"), ("id", "unique"), ("amount", "not_null"), ("label", "not_null"))
PROJECT = """
name: generated
version: "0.1.0"
profile: millrace
flags: {send_anonymous_usage_stats: false, use_colors: false}
models: {generated: {+materialized: table, +schema: marts}}
"""


@dataclass(frozen=True)
class Size:
    """How many models and tests a project has, and how many models read each of its streams."""

    models: int
    tests: int
    affected: int

    @property
    def streams(self) -> int:
        """Return the number of streams."""
        return max(1, self.models // self.affected)


def write_project(folder: Path, size: Size) -> None:
    """Write `dbt_project/` and `warehouse.duckdb` into a folder: for each stream a tree of tables that read it."""
    project = folder / "dbt_project"
    (project / "models").mkdir(parents=True)
    (project / "macros").mkdir()
    shutil.copy(generated.DBT / "profiles.yml", project)
    shutil.copy(generated.DBT / "macros" / "generate_schema_name.sql", project / "macros")
    (project / "dbt_project.yml").write_text(PROJECT)
    for number in range(size.models):
        (project / "models" / f"m{number}.sql").write_text(_sql(number, size.streams))
        columns = _columns(size.tests // size.models + (number < size.tests % size.models))
        properties = {"models": [{"name": f"m{number}", "description": f"Model {number}.", "columns": columns}]}
        (project / "models" / f"m{number}.yml").write_text(yaml.safe_dump(properties))
    tables = [{"name": f"s{stream}"} for stream in range(size.streams)]
    sources = {"sources": [{"name": "shop", "database": "warehouse", "schema": "raw_shop", "tables": tables}]}
    (project / "models" / "sources.yml").write_text(yaml.safe_dump(sources))
    with duckdb.connect(str(folder / "warehouse.duckdb")) as db:
        db.execute("CREATE SCHEMA raw_shop")
        for stream in range(size.streams):
            rows = f"SELECT i AS id, i * 7 AS amount, 'row ' || i AS label FROM range({ROWS}) AS r(i)"
            db.execute(f"CREATE TABLE raw_shop.s{stream} AS {rows}")


def _sql(number: int, streams: int) -> str:
    """Return the model's text: the first of a stream reads it, each other one reads the one at half its place."""
    place, stream = divmod(number, streams)
    if place == 0:
        return f"select id, amount, label from {{{{ source('shop', 's{stream}') }}}}"
    parent = (place - 1) // 2 * streams + stream
    return f"select id, amount + 1 as amount, label from {{{{ ref('m{parent}') }}}} where id >= 0"


def _columns(tests: int) -> list[dict[str, object]]:
    tested: dict[str, list[str]] = {}
    for column, test in COLUMN_TESTS[:tests]:
        tested.setdefault(column, []).append(test)
    return [{"name": column, "data_tests": names} for column, names in tested.items()]
