"""Staging files as DuckDB reads them: Arrow a batch of rows at a time, which it need not decode, or Parquet."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from lake.store import Lake
from warehouse import duckdb_sql as sql


def download(lake: Lake, files: Sequence[str], folder: Path) -> list[str]:
    """Staging files as local ones."""
    paths = []
    for name in files:
        paths.append(str(folder / name.rsplit("/", 1)[1]))
        lake.download(name, paths[-1])
    return paths


def relation(db: duckdb.DuckDBPyConnection, name: str, files: Sequence[str]) -> str:
    """What to select the rows of local files from, all of one format; empty when there are no files.

    Args:
        db: a connection, which knows Arrow files by `name` from now on.
        name: of no table or view.
        files: with names that end in `.arrow` or `.parquet`.
    """
    if not files:
        return ""
    if files[0].endswith(".arrow"):
        import pyarrow.dataset  # takes a while, and only a commit needs it

        db.register(name, pyarrow.dataset.dataset(list(files), format="arrow"))
        return sql.quote(name)
    return f"read_parquet([{', '.join(sql.text(file) for file in files)}], union_by_name = true)"
