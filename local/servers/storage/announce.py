"""Writes a message into the outbox for each notification of a bucket that an event of an object matches."""

import json
import sqlite3

from local.servers.storage.rules import Json


def announce(db: sqlite3.Connection, event: str, resource: Json, at: str, extra: dict[str, str]) -> None:
    """Write an event for each notification whose events and prefix match, within the caller's transaction."""
    bucket = resource["bucket"]
    for number, text in db.execute("SELECT id, body FROM notifications WHERE bucket = ?", (bucket,)).fetchall():
        config = json.loads(text)
        if event not in (config.get("event_types") or [event]):
            continue
        if not resource["name"].startswith(config.get("object_name_prefix", "")):
            continue
        attributes = {
            "notificationConfig": f"projects/_/buckets/{bucket}/notificationConfigs/{number}",
            "eventType": event,
            "payloadFormat": config["payload_format"],
            "bucketId": bucket,
            "objectId": resource["name"],
            "objectGeneration": resource["generation"],
            "eventTime": at,
            **extra,
            **config.get("custom_attributes", {}),
        }
        data = json.dumps(resource).encode() if config["payload_format"] == "JSON_API_V1" else b""
        topic = config["topic"].removeprefix("//pubsub.googleapis.com/")
        row = (topic, json.dumps(attributes), data)
        db.execute("INSERT INTO outbox (topic, attributes, data) VALUES (?, ?, ?)", row)
