"""What a model run asks of the DuckDB warehouse: what merges touched, and the results of the quality gate."""

from collections.abc import Sequence

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain.quality import QualityFact
from millrace.warehouse.duckdb import sql as sql
from millrace.warehouse.quality import MOST_DAYS, fact, result_values

FIELDS = '"at", "by", run_id, candidate, suite, expectation, "column", severity, success, observed, sample'


def touched_days(db: duckdb.DuckDBPyConnection, contract: StreamContract, batches: Sequence[str]) -> list[str] | None:
    """Days of the partition column in which batches changed or deleted rows; None when no list of days tells it."""
    column = contract.day_column
    if column is None:
        return None
    query = (
        f"SELECT DISTINCT CAST({sql.quote(column)} AS DATE)::VARCHAR FROM {sql.table(contract)}"  # noqa: S608
        " WHERE list_contains($1, _batch_id) OR list_contains($1, _delete_batch_id) ORDER BY 1"
    )
    days = [str(day) for (day,) in db.execute(query, [list(batches)]).fetchall()]
    return days if len(days) <= MOST_DAYS else None


def merged_rows(contract: StreamContract, batches: Sequence[str]) -> str:
    """SQL of the live rows that batches wrote and that are still the newest of their keys."""
    named = ", ".join(sql.text(batch) for batch in batches) or "NULL"
    return (
        f"SELECT * FROM {sql.table(contract)} WHERE _batch_id IN ({named}) AND _version IS NOT NULL"  # noqa: S608
        " AND (_delete_version IS NULL OR _delete_version < _version)"
    )


def record(db: duckdb.DuckDBPyConnection, facts: Sequence[QualityFact]) -> None:
    """Keep results, all or none."""
    rows = [[f.at, f.by, f.run_id, f.candidate, *result_values(f).values()] for f in facts]
    db.execute("BEGIN")
    db.execute(sql.OPS)
    if rows:
        places = "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11"
        db.executemany(f"INSERT INTO ops.quality ({FIELDS}) VALUES ({places})", rows)  # noqa: S608
    db.execute("COMMIT")


def newest(db: duckdb.DuckDBPyConnection) -> list[QualityFact]:
    """The newest results of every suite."""
    rows = db.execute(
        f"SELECT {FIELDS}"  # noqa: S608
        ' FROM ops.quality QUALIFY "at" = max("at") OVER (PARTITION BY suite) ORDER BY suite, rowid'
    ).fetchall()
    return [fact(row) for row in rows]
