"""Files that readers open, in a storage version that older versions of DuckDB read; ours would write a newer one.

https://duckdb.org/docs/stable/internals/storage#storage-version-table
"""

import shutil
from pathlib import Path

import duckdb

from millrace.warehouse.duckdb.sql import text

READABLE = "v1.2.0"
"""The oldest DuckDB that can read the marts."""


def create(file: Path) -> None:
    """Create an empty file."""
    with duckdb.connect() as db:
        db.execute(f"ATTACH {text(str(file))} AS made (STORAGE_VERSION '{READABLE}')")


def copy(published: Path, candidate: Path) -> None:
    """Copy a file; one of a newer storage version, as older versions of the platform wrote it, table by table."""
    if is_readable(published):
        shutil.copyfile(published, candidate)  # an open file keeps its content when another one replaces it
        return
    with duckdb.connect() as db:
        db.execute(f"ATTACH {text(str(published))} AS published (READ_ONLY)")
        db.execute(f"ATTACH {text(str(candidate))} AS candidate (STORAGE_VERSION '{READABLE}')")
        db.execute("COPY FROM DATABASE published TO candidate")


def is_readable(file: Path) -> bool:
    """Return True when older versions of DuckDB can read a file."""
    query = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
    with duckdb.connect(str(file), read_only=True) as db:
        row = db.execute(query).fetchone()
    return row is not None and str(row[0]).rstrip("+") == READABLE
