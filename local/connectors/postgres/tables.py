"""The tables of a database as streams of the catalog, with their columns, keys and comments."""

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from local.connectors.columns import SCHEMAS
from local.connectors.postgres.server import Connection
from local.connectors.postgres.types import FREE_NUMERIC, PgColumn, PgType, column_of, load_types
from local.connectors.protocol import ConnectorError, Json

CDC = {
    "_ab_cdc_lsn": {"type": ["null", "integer"]},
    "_ab_cdc_updated_at": {"type": ["null", "string"]},
    "_ab_cdc_deleted_at": {"type": ["null", "string"]},
}
TABLES = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relreplident::text,
       coalesce(obj_description(c.oid, 'pg_class'), ''), greatest(c.reltuples, 0)::int8,
       coalesce((SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
        FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary), '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = ANY ('{r,p,v,m,f}') AND NOT c.relispartition AND n.nspname = ANY (%s)
  AND has_table_privilege(c.oid, 'SELECT')
ORDER BY 2, 3
"""
COLUMNS = """
SELECT a.attrelid::int8, a.attname::text, a.atttypid::int8, a.atttypmod, NOT a.attnotnull,
       coalesce(col_description(a.attrelid, a.attnum), '')
FROM pg_attribute a WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""


@dataclass(frozen=True)
class Table:
    """A table or view; `rows` is PostgreSQL's estimate."""

    oid: int
    schema: str
    name: str
    kind: str
    identity: str
    description: str
    rows: int
    key: tuple[str, ...]
    columns: tuple[PgColumn, ...]

    @property
    def sql(self) -> sql.Composable:
        """Return the quoted name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def replicable(self) -> bool:
        """Return true when logical replication carries its updates and deletes with their key."""
        return self.kind in "rp" and bool(self.key) and self.identity in "df"


def load_tables(connection: Connection, schemas: list[str]) -> tuple[dict[str, Table], dict[int, PgType]]:
    """Return the tables that the user may read, by name, and the database's types.

    Raises:
        ConnectorError: two of the schemas have a table of one name, or they have none.
    """
    types = load_types(connection)
    found = connection.execute(TABLES, (schemas,)).fetchall()
    columns: dict[int, list[PgColumn]] = {}
    for oid, name, kind, modifier, nullable, description in connection.execute(COLUMNS, ([t[0] for t in found],)):
        column = column_of(types, name, kind, modifier, nullable=nullable, description=description)
        columns.setdefault(oid, []).append(column)
    tables: dict[str, Table] = {}
    for oid, schema, name, kind, identity, description, rows, key in found:
        own = tuple(columns.get(oid, ()))
        table = Table(oid, schema, name, kind, identity, description, rows, tuple(key), own)
        if table.name in tables:
            both = f"{tables[table.name].schema} and {table.schema}"
            raise ConnectorError(f"schemas {both} both have a table {table.name!r}; make a source for each schema")
        if table.columns:
            tables[table.name] = table
    if not tables:
        raise ConnectorError(f"the user can read no table in schema {', '.join(schemas)}; GRANT SELECT, or set schemas")
    return tables, types


def stream_of(table: Table, *, cdc: bool) -> Json:
    """Return a table's stream of the catalog; `contract_type` is what a contract should say of a column."""
    properties = {column.name: _property(column) for column in table.columns}
    log = cdc and table.replicable
    stream: Json = {
        "name": table.name,
        "namespace": table.schema,
        "description": table.description,
        "supported_sync_modes": ["full_refresh"] + (["incremental"] if log or not cdc else []),
        "json_schema": {"type": "object", "properties": properties | (CDC if log else {})},
        "source_defined_primary_key": [[name] for name in table.key],
        "is_resumable": False,
    }
    if log:
        stream |= {"source_defined_cursor": True, "default_cursor_field": ["_ab_cdc_lsn"]}
    return stream


def _property(column: PgColumn) -> Json:
    kind, form = SCHEMAS.get(column.kind.contract, ("string", ""))
    declared: dict[str, Any] = {"type": ["null", kind] if column.nullable else kind}
    optional: Json = {"format": form, "description": column.description, "enum": list(column.labels)}
    if column.kind.contract == FREE_NUMERIC:
        optional["any_digits"] = True  # the sample says how many it needs
    return declared | {k: v for k, v in optional.items() if v} | {"contract_type": column.kind.contract}


def table_of(tables: dict[str, Table], name: str) -> Table:
    """Return one table.

    Raises:
        ConnectorError: it is gone.
    """
    if name not in tables:
        raise ConnectorError(f"stream {name}: no such table or view, or the user may not read it", "system_error")
    return tables[name]
