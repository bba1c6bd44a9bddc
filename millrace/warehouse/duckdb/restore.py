"""A candidate's file in; tables and views of it as they are published, or gone if nothing of the name is, out."""

from collections.abc import Collection
from pathlib import Path

import duckdb

from millrace.domain.errors import WarehouseRefused
from millrace.warehouse.duckdb.sql import quote, text
from millrace.warehouse.duckdb.strangers import Relation, own, relations

PUBLISHED = "millrace_published"


def restore_tables(
    published: Path, candidate: Path, tables: Collection[str], known: Collection[str] | None = None
) -> None:
    """Make tables and views of a candidate what is published; again: changes nothing.

    With `known`, also all that is published and not among `known`: its model is gone.

    Raises:
        WarehouseRefused: a published view can't be made in the candidate.
    """
    published_relations = _published(published)
    gone = [r.name for r in published_relations if known is not None and r.name not in known]
    names = {*tables, *gone}
    with duckdb.connect(str(candidate)) as db:
        for relation in reversed([r for r in relations(db) if r.name in names]):
            db.execute(f"DROP {relation.kind} {relation.quoted}")
        if back := [relation for relation in published_relations if relation.name in names]:
            db.execute(f"ATTACH {text(str(published))} AS {PUBLISHED} (READ_ONLY)")
            _copy(db, back, published)
            db.execute(f"DETACH {PUBLISHED}")


def _published(file: Path) -> list[Relation]:
    if not file.exists():
        return []
    with duckdb.connect(str(file), read_only=True) as db:
        own_relations = own(db)
        return [relation for relation in relations(db) if relation.id in own_relations]


def _copy(db: duckdb.DuckDBPyConnection, back: list[Relation], published: Path) -> None:
    """Copy tables, then views, of which one may read another: those that fail are made after the others."""
    while back:
        failed: list[tuple[Relation, duckdb.Error]] = []
        for relation in back:
            try:
                _copy_one(db, relation)
            except duckdb.Error as error:
                failed.append((relation, error))
        if len(failed) == len(back):
            first, cause = failed[0]
            raise WarehouseRefused(
                f"{published} has {first.id}, which a refused part of the dbt project made, and it can't be kept"
                f" ({str(cause).splitlines()[0]}); correct what was refused, or drop it"
            ) from cause
        back = [relation for relation, _ in failed]


def _copy_one(db: duckdb.DuckDBPyConnection, relation: Relation) -> None:
    db.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(relation.schema)}")
    db.execute("BEGIN")
    try:
        db.execute(relation.sql)
        if relation.kind == "TABLE":
            db.execute(f"INSERT INTO {relation.quoted} FROM {PUBLISHED}.{relation.quoted}")
    except duckdb.Error:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
