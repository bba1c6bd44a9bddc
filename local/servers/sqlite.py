"""Opens the SQLite files of the local servers: a kill leaves them consistent, and older versions are migrated."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_database(file: Path, schema: str, old_table: str, from_old: str) -> sqlite3.Connection:
    """Open the database with this version's tables; migrate the data of an older version, which had `old_table`."""
    db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing; a power cut may
    old = db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (old_table,)).fetchone()
    db.executescript(f"BEGIN; {schema} {from_old if old else ''} COMMIT;")
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
