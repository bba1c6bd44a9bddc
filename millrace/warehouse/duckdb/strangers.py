"""A file of marts in; its tables and views that no publication made out, and into the file that replaces it.

A publication replaces the whole file. So each file lists in `ops.millrace_marts` what publications made; what else it
has is taken out of a candidate that begins as its copy, and put as it is then into the candidate that replaces it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import duckdb

from millrace.domain.errors import WarehouseRefused
from millrace.warehouse.duckdb.sql import quote, text

MADE, OLD = "ops.millrace_marts", "millrace_old"
LISTED = """
SELECT 1 FROM duckdb_tables()
WHERE database_name = current_database() AND schema_name = 'ops' AND table_name = 'millrace_marts'
"""
RELATIONS = """
SELECT schema_name, table_name, 'TABLE', sql FROM duckdb_tables()
WHERE database_name = current_database() AND NOT internal AND NOT temporary AND schema_name != 'ops'
UNION ALL SELECT schema_name, view_name, 'VIEW', sql FROM duckdb_views()
WHERE database_name = current_database() AND NOT internal AND NOT temporary AND schema_name != 'ops' ORDER BY 3, 1, 2
"""


class Relation(NamedTuple):
    """A table or view of a file, with the statement that makes it."""

    schema: str
    name: str
    kind: str
    sql: str

    @property
    def id(self) -> str:
        """Return its name within the file."""
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """Return its name for SQL."""
        return f"{quote(self.schema)}.{quote(self.name)}"


def own(db: duckdb.DuckDBPyConnection) -> set[str]:
    """Return what publications made; everything in a file of an older version, which has no list."""
    if not db.execute(LISTED).fetchall():
        return {relation.id for relation in relations(db)}
    return {str(name) for (name,) in db.execute(f"SELECT id FROM {MADE}").fetchall()}  # noqa: S608


def relations(db: duckdb.DuckDBPyConnection) -> list[Relation]:
    """Return the tables, then the views of a file, but for the platform's own."""
    return [Relation(*row) for row in db.execute(RELATIONS).fetchall()]


def strangers(db: duckdb.DuckDBPyConnection) -> list[Relation]:
    """Return the tables and views that no publication made."""
    made = own(db)
    return [relation for relation in relations(db) if relation.id not in made]


def drop_strangers(db: duckdb.DuckDBPyConnection) -> None:
    """Drop them from a copy of the published marts; from then on all that the copy has is a candidate's."""
    for relation in reversed(strangers(db)):
        db.execute(f"DROP {relation.kind} {relation.quoted}")
    db.execute(f"DROP TABLE IF EXISTS {MADE}")


def record_own(db: duckdb.DuckDBPyConnection) -> None:
    """List everything in a candidate as made by its publication."""
    made = [relation.id for relation in relations(db)]
    db.execute(f"CREATE OR REPLACE TABLE {MADE} AS SELECT unnest($1::VARCHAR[]) AS id", [made])


def carry_strangers(published: Path, candidate: Path) -> None:
    """Copy what no publication made from the published marts into the candidate that replaces them.

    Raises:
        WarehouseRefused: the candidate has a mart of the same name, or lacks what a view reads.
    """
    with duckdb.connect(str(published), read_only=True) as db:
        strange = strangers(db)
    if not strange:
        return
    with duckdb.connect(str(candidate)) as db:
        _refuse_twins({relation.id for relation in relations(db)}, strange, published)
        db.execute(f"ATTACH {text(str(published))} AS {OLD} (READ_ONLY)")
        for relation in strange:
            db.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(relation.schema)}")
            _carry(db, relation, published)
        db.execute(f"DETACH {OLD}")


def _refuse_twins(made: Collection[str], strange: list[Relation], published: Path) -> None:
    if twins := [relation.id for relation in strange if relation.id in made]:
        raise WarehouseRefused(
            f"{published} has {', '.join(twins)}, which no publication made, and a mart has the same name; rename or"
            " drop what is there, or rename the model"
        )


def _carry(db: duckdb.DuckDBPyConnection, relation: Relation, published: Path) -> None:
    try:
        db.execute(relation.sql)
        if relation.kind == "TABLE":
            db.execute(f"INSERT INTO {relation.quoted} FROM {OLD}.{relation.quoted}")
    except duckdb.Error as error:
        raise WarehouseRefused(
            f"{published} has {relation.id}, which no publication made, and it can't be kept beside the new marts"
            f" ({str(error).splitlines()[0]}); change or drop it"
        ) from error
