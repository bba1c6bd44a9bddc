"""A configuration in, a connection to its database, and its tables as streams, out."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql  # type: ignore[import-untyped]
from pymysql.cursors import SSCursor  # type: ignore[import-untyped]

from local.connectors.columns import SCHEMAS, Kind
from local.connectors.protocol import ConnectorError, Json

CONNECT_S = 20
# A column's contract type, and how a query writes it; {} is the column. Other types are texts.
TABLE = """
tinyint smallint mediumint int integer bigint year   int64      {}
bit                                                  int64      ({}+0)
float double                                         float64    {}
json                                                 json       {}
binary varbinary tinyblob blob mediumblob longblob   bytes      HEX({})
geometry                                             bytes      HEX({})
date                                                 date       {}
datetime timestamp                                   timestamp  {}
"""
RULES = {
    name: (contract, sql)
    for line in TABLE.strip().splitlines()
    for *names, contract, sql in [line.split()]
    for name in names
}
MOST_DIGITS = 38
COLUMNS = """
SELECT c.table_name, t.table_type, t.table_comment, c.column_name, c.data_type, c.column_type, c.numeric_precision,
       c.numeric_scale, c.is_nullable, c.column_key, c.column_comment
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = %s ORDER BY c.table_name, c.ordinal_position
"""
KEYS = """
SELECT table_name, column_name FROM information_schema.key_column_usage
WHERE table_schema = %s AND constraint_name = 'PRIMARY' ORDER BY table_name, ordinal_position
"""


@dataclass(frozen=True)
class Column:
    """One column: its type in the contract, and the SQL that writes it."""

    name: str
    kind: Kind
    sql: str
    nullable: bool
    description: str

    @property
    def stream_property(self) -> Json:
        """Return it as a property of the catalog."""
        kind, form = SCHEMAS.get(self.kind.contract, ("string", ""))
        declared: Json = {"type": ["null", kind] if self.nullable else kind, "contract_type": self.kind.contract}
        return declared | {k: v for k, v in {"format": form, "description": self.description}.items() if v}


@dataclass(frozen=True)
class Table:
    """A table or view."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]


@contextmanager
def connect(config: Json) -> Iterator["pymysql.connections.Connection[SSCursor]"]:
    """Connect; rows are read as they come.

    Raises:
        ConnectorError: with the server's words.
    """
    mode = str((config.get("ssl_mode") or {}).get("mode", "preferred")).lower()
    address = f"{config['host']}:{config.get('port', 3306)}"
    try:
        connection = pymysql.connect(
            host=str(config["host"]),
            port=int(config.get("port", 3306)),
            user=str(config["username"]),
            password=str(config.get("password", "")),
            database=str(config["database"]),
            charset="utf8mb4",
            connect_timeout=CONNECT_S,
            autocommit=True,
            cursorclass=SSCursor,
            conv={},  # every value as its text
            init_command="SET time_zone = '+00:00'",
            ssl=None if mode == "preferred" else _ssl(mode),
        )
    except pymysql.MySQLError as error:
        raise ConnectorError(f"{address}: {error.args[-1]}") from None
    try:
        yield connection
    finally:
        connection.close()


def _ssl(mode: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    return context


def rows(connection: "pymysql.connections.Connection[SSCursor]", query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return all rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def load_tables(connection: "pymysql.connections.Connection[SSCursor]", database: str) -> dict[str, Table]:
    """Return the tables and views that the user may read.

    Raises:
        ConnectorError: there are none.
    """
    keys: dict[str, list[str]] = {}
    for table, column in rows(connection, KEYS, database):
        keys.setdefault(table, []).append(column)
    columns: dict[str, list[Column]] = {}
    comments: dict[str, str] = {}
    for table, kind, comment, *rest in rows(connection, COLUMNS, database):
        comments[table] = comment if kind == "BASE TABLE" else ""
        columns.setdefault(table, []).append(_column(*rest))
    if not columns:
        raise ConnectorError(f"the user can read no table in database {database}; GRANT SELECT")
    return {name: Table(name, comments[name], tuple(columns[name]), tuple(keys.get(name, ()))) for name in columns}


def _column(
    name: str, kind: str, declared: str, digits: Any, scale: Any, nullable: str, _: str, comment: str
) -> Column:
    contract, sql = RULES.get(kind.lower(), ("string", "{}"))
    if kind.lower() == "decimal":
        contract = f"decimal({digits},{scale})" if int(digits) <= MOST_DIGITS else "string"
    if kind.lower() == "bigint" and "unsigned" in declared:
        contract = "decimal(20,0)"
    if declared.lower() == "tinyint(1)":  # what BOOLEAN is
        contract = "bool"
    quoted = f"`{name.replace('`', '``')}`"
    local = kind.lower() == "datetime"
    return Column(name, Kind(contract, local=local), sql.format(quoted), nullable == "YES", comment)
