"""The options of the connectors that come with the platform, as JSON schemas; and what Airbyte's of the name require.

A contract that was made for Airbyte's connector may have options that change nothing of what is read: they are allowed.
"""

from typing import Any

Json = dict[str, Any]
NO_TUNNEL: Json = {
    "type": "object",
    "description": "`tunnel_method`: NO_TUNNEL; on one machine there is none.",
    "properties": {"tunnel_method": {"type": "string", "enum": ["NO_TUNNEL"]}},
}
TUNING: Json = {"description": "Airbyte's; without effect on one machine."}
POSTGRES_METHODS = ("Standard", "CDC")
POSTGRES: Json = {
    "required": ["host", "database", "username"],
    "properties": {
        "host": {"type": "string", "description": "Name or address of the server."},
        "port": {"type": "integer", "default": 5432},
        "database": {"type": "string"},
        "schemas": {"type": "array", "items": {"type": "string"}, "default": ["public"]},
        "username": {"type": "string"},
        "password": {"type": "string", "airbyte_secret": True},
        "ssl_mode": {
            "type": "object",
            "description": "`mode`: disable, allow, prefer, require, verify-ca or verify-full.",
            "properties": {
                "mode": {"type": "string", "default": "prefer"},
                "ca_certificate": {"type": "string", "airbyte_secret": True},
            },
        },
        "replication_method": {
            "type": "object",
            "description": "`method`: Standard (by a cursor column) or CDC (logical replication).",
            "properties": {
                "method": {"type": "string", "enum": list(POSTGRES_METHODS), "default": "Standard"},
                "replication_slot": {"type": "string", "default": "millrace"},
                "publication": {"type": "string", "default": "millrace"},
                "plugin": {"type": "string", "enum": ["pgoutput"]},
                "invalid_cdc_cursor_position_behavior": {"type": "string", "enum": ["Fail sync"]},
                "initial_waiting_seconds": TUNING,
                "initial_load_timeout_hours": TUNING,
                "queue_size": TUNING,
                "lsn_commit_behaviour": TUNING,
            },
        },
        "tunnel_method": NO_TUNNEL,
    },
}
MYSQL: Json = {
    "required": ["host", "database", "username"],
    "properties": {
        "host": {"type": "string", "description": "Name or address of the server."},
        "port": {"type": "integer", "default": 3306},
        "database": {"type": "string"},
        "username": {"type": "string"},
        "password": {"type": "string", "airbyte_secret": True},
        "ssl_mode": {
            "type": "object",
            "description": "`mode`: preferred, required, verify_ca or verify_identity.",
            "properties": {"mode": {"type": "string", "default": "preferred"}},
        },
        "replication_method": {
            "type": "object",
            "description": "`method`: STANDARD; on one machine the log is not read.",
            "properties": {"method": {"type": "string", "enum": ["STANDARD"], "default": "STANDARD"}},
        },
        "tunnel_method": NO_TUNNEL,
    },
}
FILES: Json = {
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "description": "/folder, gs://bucket/folder or s3://bucket/folder."},
        "endpoint": {"type": "string", "description": "host:port of another server than Google's or Amazon's."},
        "service_account": {"type": "string", "airbyte_secret": True, "description": "Google's key file, as JSON."},
        "access_key": {"type": "string", "airbyte_secret": True, "description": "Of S3."},
        "secret_key": {"type": "string", "airbyte_secret": True, "description": "Of S3."},
        "region": {"type": "string", "description": "Of S3."},
    },
}
BUNDLED: dict[str, Json] = {
    "airbyte/source-postgres": POSTGRES,
    "airbyte/source-mysql": MYSQL,
    "millrace/source-files": FILES,
}
"""The options that the commands of this machine read, by the image that they stand for."""
REQUIRED_BY_AIRBYTE = {
    "airbyte/source-postgres": ("host", "port", "database", "username"),
    "airbyte/source-mysql": ("host", "port", "database", "username", "replication_method"),
}
"""The options without which Airbyte takes no configuration of its connector."""
REQUIRED_WITH_THE_LOG = {"airbyte/source-postgres": ("replication_slot", "publication")}
"""Those of `replication_method` when its `method` is CDC."""
