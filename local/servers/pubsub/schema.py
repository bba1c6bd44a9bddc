"""The tables of the Pub/Sub server, and the statements that migrate an older file."""

# A message lives as long as something holds it: a subscription that has not had it acknowledged (`held.holder` is its
# name), one that keeps acknowledged messages (its name and `#acked`), a snapshot, or a topic that retains messages.
# `due` is when a message may be delivered next; NULL if it is only kept, or waits for another of its ordering key.
SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY, body TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS subscriptions (name TEXT PRIMARY KEY, topic TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS snapshots (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, body BLOB NOT NULL, published REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS held (
  holder TEXT NOT NULL, message INTEGER NOT NULL, ordering TEXT NOT NULL, due REAL, attempts INTEGER NOT NULL,
  lease INTEGER NOT NULL, PRIMARY KEY (holder, message)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS held_due ON held (holder, due, message) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS held_ordering ON held (holder, ordering, message) WHERE ordering <> '';
CREATE INDEX IF NOT EXISTS held_message ON held (message);
"""
FROM_1 = """
ALTER TABLE topics ADD COLUMN body TEXT NOT NULL DEFAULT '{}';
ALTER TABLE messages ADD COLUMN published REAL NOT NULL DEFAULT 0;
UPDATE messages SET published = unixepoch();
INSERT INTO held SELECT d.subscription, d.message, d.ordering,
  CASE WHEN d.ordering = '' OR NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.subscription = d.subscription
    AND o.ordering = d.ordering AND o.message < d.message) THEN d.due END, d.attempts, 0 FROM deliveries d;
DROP TABLE deliveries;
"""
OLD_TABLE = "deliveries"
