"""The tables of the Cloud Storage server, and what brings an older file up to them."""

import sqlite3
from pathlib import Path

# `live` is 1 for the object that a name stands for, 0 for a noncurrent generation of a bucket with versioning.
SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS generations (
  bucket TEXT NOT NULL, name TEXT NOT NULL, generation INTEGER NOT NULL, live INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (bucket, name, generation));
CREATE UNIQUE INDEX IF NOT EXISTS live ON generations (bucket, name) WHERE live = 1;
CREATE TABLE IF NOT EXISTS notifications (
  id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, attributes TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, bucket TEXT NOT NULL, body TEXT NOT NULL, query TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS finished (upload TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counter (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL);
"""
FROM_1 = """
INSERT INTO generations SELECT bucket, name, generation, 1, body FROM objects;
DROP TABLE objects;
"""


def open_database(file: Path) -> sqlite3.Connection:
    """The database with this version's tables; what an older version kept is kept."""
    db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing; a power cut may
    old = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'objects'").fetchone()
    db.executescript(f"BEGIN; {SCHEMA} {FROM_1 if old else ''} COMMIT;")
    return db
