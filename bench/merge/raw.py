"""Peer: SQL by hand in DuckDB, tuned as ours is, with no registers, no ledger, no retry: the practical limit."""

from collections.abc import Collection, Iterable

import duckdb
import polars as pl
import pyarrow as pa

from bench.merge.job import Workspace
from bench.merge.table import COLUMNS, ORDER, RELATION, SHOWN
from millrace.warehouse.duckdb.warehouse import VACUUM_TASKS

TUNED = f"SET max_vacuum_tasks = {VACUUM_TASKS}; SET preserve_insertion_order = false"
SELDOM_REPEAT = ("customer", "email", "note")


def prepare(workspace: Workspace, packed: Collection[str] = SELDOM_REPEAT) -> None:
    """Make the table, its `packed` text as ours chooses to store it."""
    columns = ", ".join(f"{n} {t}{' USING COMPRESSION zstd' if n in packed else ''}" for n, t in COLUMNS.items())
    with duckdb.connect(workspace.database) as db:
        db.execute(f"CREATE SCHEMA bench; CREATE TABLE {RELATION} ({columns})")
        db.execute(f"INSERT INTO {RELATION} SELECT {SHOWN} FROM {files(workspace.files)}")


def merge(workspace: Workspace, settings: str = TUNED) -> None:
    """Take the newest row of each key, and merge those."""
    with duckdb.connect(workspace.database) as db:
        db.execute(settings)
        came = files(workspace.files)
        if workspace.avro:
            db.register("came", pa.concat_tables(_read_avro(file) for file in workspace.files))
            came = "came"
        db.execute(pick(workspace.key, came) + merge_picked(workspace.key))


def files(paths: Iterable[str]) -> str:
    """Parquet files as a relation."""
    return f"read_parquet([{', '.join(repr(path) for path in paths)}])"


def pick(key: tuple[str, ...], came: str) -> str:
    """The newest row of each key as `picked`."""
    newest = f"row_number() OVER (PARTITION BY {', '.join(key)} ORDER BY {ORDER} DESC) = 1"
    return f"CREATE TEMP TABLE picked AS SELECT {SHOWN} FROM {came} QUALIFY {newest};\n"


def merge_picked(key: tuple[str, ...]) -> str:
    """Rows of the table give way to newer ones only."""
    same = " AND ".join(f"t.{name} = p.{name}" for name in key)
    return f"""BEGIN;
DELETE FROM {RELATION} t USING picked p WHERE {same} AND t.{ORDER} < p.{ORDER};
INSERT INTO {RELATION} SELECT {SHOWN} FROM picked p ANTI JOIN {RELATION} t ON {same};
COMMIT;
"""


def _read_avro(file: str) -> pa.Table:
    return pl.read_avro(file, columns=list(COLUMNS)).to_arrow()
