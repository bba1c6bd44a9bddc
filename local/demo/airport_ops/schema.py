"""The operations database's tables, and triggers that log every change with a position and the row's image."""

TABLES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "airlines": (("carrier",), {"carrier": "TEXT", "name": "TEXT"}),
    "airports": (
        ("faa",),
        {
            "faa": "TEXT",
            "name": "TEXT",
            "lat": "REAL",
            "lon": "REAL",
            "alt": "INTEGER",
            "tz": "INTEGER",
            "dst": "TEXT",
            "tzone": "TEXT",
        },
    ),
    "planes": (
        ("tailnum",),
        {
            "tailnum": "TEXT",
            "year": "INTEGER",
            "type": "TEXT",
            "manufacturer": "TEXT",
            "model": "TEXT",
            "engines": "INTEGER",
            "seats": "INTEGER",
            "speed": "INTEGER",
            "engine": "TEXT",
        },
    ),
    "weather": (
        ("origin", "time_hour"),
        {
            "origin": "TEXT",
            "time_hour": "TIMESTAMP",
            "temp": "REAL",
            "dewp": "REAL",
            "humid": "REAL",
            "wind_dir": "REAL",
            "wind_speed": "REAL",
            "wind_gust": "REAL",
            "precip": "REAL",
            "pressure": "REAL",
            "visib": "REAL",
        },
    ),
    "flights": (
        ("flight_date", "carrier", "flight", "origin"),
        {
            "flight_date": "DATE",
            "carrier": "TEXT",
            "flight": "INTEGER",
            "origin": "TEXT",
            "dest": "TEXT",
            "tailnum": "TEXT",
            "distance": "INTEGER",
            "scheduled_departure": "TIMESTAMP",
            "departed_at": "TIMESTAMP",
            "dep_delay": "INTEGER",
            "landed_at": "TIMESTAMP",
            "arr_delay": "INTEGER",
            "air_time": "INTEGER",
            "status": "TEXT",
        },
    ),
}
OWN = """
CREATE TABLE _changes (
  lsn INTEGER PRIMARY KEY AUTOINCREMENT, table_name TEXT NOT NULL, op TEXT NOT NULL, row TEXT NOT NULL,
  changed_at TEXT NOT NULL);
CREATE INDEX _changes_of ON _changes (table_name, lsn);
CREATE TABLE _clock (day INTEGER NOT NULL, now TEXT NOT NULL);
INSERT INTO _clock VALUES (0, '');
CREATE TABLE _users (username TEXT PRIMARY KEY, salt TEXT NOT NULL, hash TEXT NOT NULL);
"""


def columns(table: str) -> dict[str, str]:
    """Columns of a table with their types."""
    return TABLES[table][1] | {"updated_at": "TIMESTAMP"}


def statements() -> str:
    """SQL that makes an empty database."""
    return OWN + "".join(_table(name) for name in TABLES)


def _table(name: str) -> str:
    key, _ = TABLES[name]
    declared = ", ".join(f"{column} {kind}" for column, kind in columns(name).items())
    sql = f"CREATE TABLE {name} ({declared}, PRIMARY KEY ({', '.join(key)}));\n"
    for op, image, logged in (
        ("INSERT", "new", columns(name)),
        ("UPDATE", "new", columns(name)),
        ("DELETE", "old", {column: columns(name)[column] for column in key}),
    ):
        row = ", ".join(f"'{column}', {_json(f'{image}.{column}', kind)}" for column, kind in logged.items())
        sql += (
            # our own names
            f"CREATE TRIGGER {name}_{op.lower()} AFTER {op} ON {name} BEGIN"
            f" INSERT INTO _changes (table_name, op, row, changed_at)"
            f" VALUES ('{name}', '{op}', json_object({row}), (SELECT now FROM _clock)); END;\n"
        )
    return sql


def _json(value: str, kind: str) -> str:
    """SQL of a value in a JSON object; SQLite alone would write 15 digits of a REAL, which needs 17."""
    return f"json(iif({value} IS NULL, 'null', printf('%!.17g', {value})))" if kind == "REAL" else value
