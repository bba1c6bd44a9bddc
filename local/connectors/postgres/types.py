"""PostgreSQL's types in; the contract's type, and the SQL that writes a value as that, out.

One expression serves snapshots and changes, so that a value is the same however it came.
"""

from dataclasses import dataclass
from typing import Any

import psycopg

from local.connectors.columns import Kind

# What a column's text is made by; {} is the column. Types that are not named are written as PostgreSQL writes them.
TABLE = """
int2 int4 int8 oid         int64            {}
float4 float8              float64          {}
bool                       bool             {}
money                      decimal(19,2)    ({})::numeric
json jsonb                 json             {}
bytea                      bytes            {}
date                       date             {}
timestamp timestamptz      timestamp        {}
"""
RULES: dict[str, tuple[str, str]] = {
    name: (contract, sql)
    for line in TABLE.strip().splitlines()
    for *names, contract, sql in [line.split()]
    for name in names
}
NESTED = ("json", "to_json({})")  # arrays and records
FREE_NUMERIC = "decimal(38,9)"  # `numeric` without digits; a value with more of them keeps its column text
MOST_DIGITS, NUMERIC_OFFSET = 38, 4
SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "client_encoding": "UTF8",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


@dataclass(frozen=True)
class PgType:
    """One row of `pg_type`; a domain has a `base`."""

    name: str
    sql: str  # as it stands in a cast
    kind: str
    category: str
    base: int
    base_modifier: int
    labels: tuple[str, ...] = ()  # of an enum


@dataclass(frozen=True)
class PgColumn:
    """One column of a table."""

    name: str
    sql_type: str
    kind: Kind
    expression: str
    nullable: bool = True
    description: str = ""
    labels: tuple[str, ...] = ()

    def written(self, value: str) -> str:
        """Return the SQL that writes a value of this column."""
        return self.expression.format(value)


QUERY = """
SELECT t.oid::int8, t.typname, format_type(t.oid, NULL), t.typtype::text, t.typcategory::text, t.typbasetype::int8,
       t.typtypmod,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
FROM pg_type t
"""


def load_types(connection: psycopg.Connection[tuple[Any, ...]]) -> dict[int, PgType]:
    """Return the types of the database by their number."""
    rows = connection.execute(QUERY).fetchall()
    return {
        oid: PgType(name, sql, kind, category, base, modifier, tuple(labels))
        for oid, name, sql, kind, category, base, modifier, labels in rows
    }


def column_of(
    types: dict[int, PgType],
    name: str,
    oid: int,
    modifier: int,
    *,
    nullable: bool = True,
    description: str = "",
) -> PgColumn:
    """Return a column by the number and modifier of its type; a domain counts as the type it is made of."""
    declared = kind = types[oid]
    while kind.kind == "d":
        modifier, kind = kind.base_modifier, types[kind.base]
    contract, sql = _rule(kind, modifier)
    how = Kind(contract, local=kind.name == "timestamp")
    return PgColumn(name, declared.sql, how, sql, nullable, description, kind.labels)


def _rule(kind: PgType, modifier: int) -> tuple[str, str]:
    if kind.category == "A" or kind.kind == "c":
        return NESTED
    if kind.name == "numeric":
        return numeric(modifier), "{}"
    return RULES.get(kind.name, ("string", "{}"))


def numeric(modifier: int) -> str:
    """Return the contract's decimal of `numeric(p,s)`; a text where no decimal of the warehouses holds it."""
    if modifier < NUMERIC_OFFSET:
        return FREE_NUMERIC
    packed = modifier - NUMERIC_OFFSET
    digits, scale = packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024
    digits, scale = max(digits - min(scale, 0), scale), max(scale, 0)
    return f"decimal({digits},{scale})" if digits <= MOST_DIGITS else "string"
