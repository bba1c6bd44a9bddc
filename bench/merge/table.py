"""The table that every peer keeps. Needs the standard library only, as dlt's environment has little else of ours."""

COLUMNS = {
    "id": "BIGINT",
    "day": "DATE",
    "position": "BIGINT",
    "updated_at": "TIMESTAMPTZ",
    "amount": "DOUBLE",
    "quantity": "BIGINT",
    "active": "BOOLEAN",
    "country": "VARCHAR",
    "status": "VARCHAR",
    "customer": "VARCHAR",
    "email": "VARCHAR",
    "note": "VARCHAR",
}
ORDER = "position"
BY_ID, BY_DAY = ("id",), ("day", "id")
SHOWN = ", ".join(COLUMNS)
DATABASE = "warehouse.duckdb"
RELATION = "bench.merged"
