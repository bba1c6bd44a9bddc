"""Queries of model runs in DuckDB: batches in, changed days and rows out; results of the gate in and out."""

from collections.abc import Sequence

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain.quality import QualityFact
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.quality import MOST_DAYS, fact, result_values

FIELDS = '"at", "by", run_id, candidate, suite, expectation, "column", severity, success, observed, sample'


def touched_days(db: duckdb.DuckDBPyConnection, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
    """Return days of the partition column in which batches changed rows; None when a list can't express them."""
    column = contract.day_column
    if column is None:
        return None
    query = (
        f"SELECT DISTINCT CAST({sql.quote(column)} AS DATE)::VARCHAR FROM {sql.table(contract)}"  # noqa: S608
        " WHERE list_contains($1, _batch_id) OR list_contains($1, _delete_batch_id) ORDER BY 1"
    )
    days = [str(day) for (day,) in db.execute(query, [list(batches)]).fetchall()]
    return days if len(days) <= MOST_DAYS else None


def merged_rows(contract: StreamContract, batches: Sequence[str] | None) -> str:
    """Return SQL of the live rows that batches (None: all) wrote and that are still the newest of their keys."""
    condition = "" if batches is None else f"_batch_id IN ({', '.join(map(sql.text, batches)) or 'NULL'}) AND "
    return (
        f"SELECT * FROM {sql.table(contract)} WHERE {condition}_version IS NOT NULL"  # noqa: S608
        " AND (_delete_version IS NULL OR _delete_version < _version)"
    )


def record(db: duckdb.DuckDBPyConnection, facts: Sequence[QualityFact]) -> None:
    """Store results, all or none."""
    rows = [[f.at, f.by, f.run_id, f.candidate, *result_values(f).values()] for f in facts]
    db.execute("BEGIN")
    db.execute(sql.OPS)
    if rows:
        values = "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11"
        db.executemany(f"INSERT INTO ops.quality ({FIELDS}) VALUES ({values})", rows)  # noqa: S608
    db.execute("COMMIT")


def newest(db: duckdb.DuckDBPyConnection) -> list[QualityFact]:
    """Return the newest results of every suite."""
    rows = db.execute(
        f"SELECT {FIELDS}"  # noqa: S608
        ' FROM ops.quality QUALIFY "at" = max("at") OVER (PARTITION BY suite) ORDER BY suite, rowid'
    ).fetchall()
    return [fact(row) for row in rows]
