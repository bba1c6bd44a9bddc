"""Tables of the operations database in, their SQL and their JSON schemas out. Standard library only."""

import hashlib
from dataclasses import dataclass
from typing import Any

CHANGES = "_changes"
USERNAME = "millrace"

SQL_TYPES = {"date": "TEXT", "string": "TEXT", "timestamp": "TEXT", "int64": "INTEGER", "float64": "REAL"}
JSON_TYPES: dict[str, dict[str, Any]] = {
    "date": {"type": ["null", "string"], "format": "date"},
    "string": {"type": ["null", "string"]},
    "timestamp": {
        "type": ["null", "string"],
        "format": "date-time",
        "airbyte_type": "timestamp_with_timezone",
    },
    "int64": {"type": ["null", "integer"]},
    "float64": {"type": ["null", "number"]},
}
LSN, UPDATED_AT, DELETED_AT = "_ab_cdc_lsn", "_ab_cdc_updated_at", "_ab_cdc_deleted_at"
CDC_TYPES = {LSN: "int64", UPDATED_AT: "string", DELETED_AT: "string"}


@dataclass(frozen=True)
class Table:
    """One table: its key, and the types of its columns."""

    name: str
    key: tuple[str, ...]
    columns: dict[str, str]

    def create_sql(self) -> str:
        """Make the table and the triggers that write every change of it to the log."""
        columns = ", ".join(f'"{c}" {SQL_TYPES[t]}{" NOT NULL" * (c in self.key)}' for c, t in self.columns.items())
        key = ", ".join(f'"{c}"' for c in self.key)
        return f"CREATE TABLE {self.name} ({columns}, PRIMARY KEY ({key}));" + "".join(
            self._trigger_sql(op) for op in ("INSERT", "UPDATE", "DELETE")
        )

    def json_schema(self) -> dict[str, Any]:
        """The table's columns and those of change data capture, as a connector tells them."""
        types = {**self.columns, **CDC_TYPES}
        return {"type": "object", "properties": {name: JSON_TYPES[kind] for name, kind in types.items()}}

    def _trigger_sql(self, op: str) -> str:
        side = "OLD" if op == "DELETE" else "NEW"
        image = "NULL" if op == "DELETE" else _json_object("NEW", tuple(self.columns))
        at = "coalesce((SELECT now FROM _clock), strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))" if op == "DELETE" else (
            "NEW.updated_at"
        )  # fmt: skip
        return (
            f"CREATE TRIGGER {self.name}_{op.lower()} AFTER {op} ON {self.name} BEGIN"  # noqa: S608  our own names
            f" INSERT INTO {CHANGES} (table_name, op, key, row, changed_at)"
            f" VALUES ('{self.name}', '{op.lower()}', {_json_object(side, self.key)}, {image}, {at}); END;"
        )


def _json_object(side: str, columns: tuple[str, ...]) -> str:
    return "json_object(" + ", ".join(f"'{c}', {side}.\"{c}\"" for c in columns) + ")"


FLIGHTS = Table(
    "flights",
    ("flight_date", "carrier", "flight", "origin"),
    {
        "flight_date": "date",
        "carrier": "string",
        "flight": "int64",
        "origin": "string",
        "dest": "string",
        "tailnum": "string",
        "distance": "int64",
        "scheduled_departure": "timestamp",
        "departed_at": "timestamp",
        "dep_delay": "int64",
        "landed_at": "timestamp",
        "arr_delay": "int64",
        "air_time": "int64",
        "status": "string",
        "updated_at": "timestamp",
    },
)
WEATHER = Table(
    "weather",
    ("origin", "time_hour"),
    {
        "origin": "string",
        "time_hour": "timestamp",
        "temp": "float64",
        "dewp": "float64",
        "humid": "float64",
        "wind_dir": "float64",
        "wind_speed": "float64",
        "wind_gust": "float64",
        "precip": "float64",
        "pressure": "float64",
        "visib": "float64",
        "updated_at": "timestamp",
    },
)
PLANES = Table(
    "planes",
    ("tailnum",),
    {
        "tailnum": "string",
        "year": "int64",
        "type": "string",
        "manufacturer": "string",
        "model": "string",
        "engines": "int64",
        "seats": "int64",
        "speed": "int64",
        "engine": "string",
        "updated_at": "timestamp",
    },
)
AIRLINES = Table("airlines", ("carrier",), {"carrier": "string", "name": "string", "updated_at": "timestamp"})
AIRPORTS = Table(
    "airports",
    ("faa",),
    {
        "faa": "string",
        "name": "string",
        "lat": "float64",
        "lon": "float64",
        "alt": "int64",
        "tz": "int64",
        "dst": "string",
        "tzone": "string",
        "updated_at": "timestamp",
    },
)
TABLES = {table.name: table for table in (FLIGHTS, WEATHER, PLANES, AIRLINES, AIRPORTS)}

SYSTEM_SQL = f"""
CREATE TABLE {CHANGES} (
  lsn INTEGER PRIMARY KEY AUTOINCREMENT, table_name TEXT NOT NULL, op TEXT NOT NULL,
  key TEXT NOT NULL, row TEXT, changed_at TEXT NOT NULL);
CREATE INDEX {CHANGES}_by_table ON {CHANGES} (table_name, lsn);
CREATE TABLE _clock (now TEXT NOT NULL);
CREATE TABLE _replay (day INTEGER NOT NULL);
INSERT INTO _replay VALUES (0);
CREATE TABLE _users (username TEXT PRIMARY KEY, salt BLOB NOT NULL, hash BLOB NOT NULL);
"""  # noqa: S608


def hash_password(password: str, salt: bytes) -> bytes:
    """What the database keeps of a password."""
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
