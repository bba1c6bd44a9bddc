"""The tables of the Cloud Storage server, and the statements that migrate an older file."""

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
OLD_TABLE = "objects"
