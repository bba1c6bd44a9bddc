"""SQL of unchanged values in DuckDB: a contract and columns in, statements that find such values and keep track out.

The stream's table of unchanged values has one row per column in which a row of the stream's table lacks a value of its
own: `_version` is the row's, which tells whether the entry still belongs to it, and `_millrace_held` the version of the
upsert that the value is from, or `NONE` as long as no upsert has one.
"""

from collections.abc import Iterable, Mapping

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.warehouse.duckdb.merge_sql import keys_equal
from millrace.warehouse.duckdb.sql import column_type, quote, table, text

NONE, WHOLE = "''::BLOB", "s._version"
STAGED = "CREATE OR REPLACE TEMP VIEW staged AS FROM combined;\n"


def side_table(contract: StreamContract) -> str:
    """Return the qualified name of the table of unchanged values."""
    return f"ops.{quote(names.unchanged_table(contract.source, contract.stream))}"


def create(contract: StreamContract) -> str:
    """Return SQL of the table of unchanged values."""
    keys = ", ".join(f"{quote(n)} {column_type(contract.columns[n].type)} NOT NULL" for n in contract.key)
    return (
        f"CREATE TABLE IF NOT EXISTS {side_table(contract)} ({keys}, _millrace_column VARCHAR NOT NULL,"
        " _version BLOB NOT NULL, _millrace_held BLOB NOT NULL);\n"
    )


def _keys(contract: StreamContract, alias: str) -> str:
    return ", ".join(f"{alias}.{quote(n)}" for n in contract.key)


def _counts(version: str, row: str, floor: str) -> str:
    """Return the condition for a value that counts for a row: a snapshot replaced both of them, or neither."""
    lowest = f"from_hex({text(floor)})"
    return f"({version} >= {lowest} OR {row} < {lowest})" if floor else "true"


def combine(contract: StreamContract, unchanged: Mapping[str, str], floor: str) -> str:
    """Return SQL of the temporary table `combined`, and its view `staged`: of the upserts `every`, the newest per key.

    Where it has an unchanged value, it gets that of the newest older upsert, and `_millrace_0`, … that one's version.

    Args:
        contract: the stream.
        unchanged: the text that stands for an unchanged value, by column.
        floor: the lowest version that no snapshot replaced.
    """
    keys = ", ".join(quote(n) for n in contract.key)
    newest = f"""CREATE OR REPLACE TEMP TABLE combined AS
WITH newest AS (SELECT {keys}, max(_version) AS _version FROM every GROUP BY ALL),
winners AS (
  SELECT e.* FROM every e SEMI JOIN newest n ON {keys_equal(contract, "e", "n")} AND e._version = n._version)"""
    if not unchanged:
        return f"{newest}\nFROM winners;\n{STAGED}"
    lacks = " OR ".join(_is_unchanged("w", name, mark) for name, mark in unchanged.items())
    found = []
    for number, (name, mark) in enumerate(unchanged.items()):
        real = f"NOT {_is_unchanged('e', name, mark)} AND {_counts('e._version', 'l._version', floor)}"
        value = f"arg_max(struct_pack(v := e.{quote(name)}), e._version) FILTER (WHERE {real})"
        found.append(f"max(e._version) FILTER (WHERE {real}) AS _millrace_{number}, {value} AS _millrace_v{number}")
    first = f"f.{quote(contract.key[0])} IS NULL"
    values = ", ".join(
        f"CASE WHEN {first} THEN w.{quote(name)} ELSE f._millrace_v{number}.v END AS {quote(name)}"
        for number, name in enumerate(unchanged)
    )
    versions = ", ".join(
        f"CASE WHEN {first} THEN w._version ELSE coalesce(f._millrace_{number}, {NONE}) END AS _millrace_{number}"
        for number in range(len(unchanged))
    )
    return f"""{newest},
lacking AS (SELECT {_keys(contract, "w")}, w._version FROM winners w WHERE {lacks}),
found AS (SELECT {_keys(contract, "l")}, {", ".join(found)} FROM every e
  JOIN lacking l ON {keys_equal(contract, "e", "l")} GROUP BY ALL)
SELECT w.* REPLACE ({values}), {versions} FROM winners w LEFT JOIN found f ON {keys_equal(contract, "w", "f")};
{STAGED}"""


def _is_unchanged(alias: str, name: str, mark: str) -> str:
    return f"coalesce({alias}.{quote(name)}::VARCHAR = {text(mark)}, false)"


def count_superseded() -> str:
    """Return the query that counts upserts that are not the newest of their keys."""
    return "SELECT (SELECT count(*) FROM every) - (SELECT count(*) FROM combined)"


def entered_columns(contract: StreamContract) -> str:
    """Return the query for columns that have entries."""
    return f"SELECT DISTINCT _millrace_column FROM {side_table(contract)}"


def look_up(contract: StreamContract, columns: Mapping[str, str], where: str, floor: str) -> str:
    """Return SQL of the temporary table `looked_up`: a row per key of `up` that lacks values, or whose row does.

    `_version` is that of the row after the merge, `_millrace_late` says whether that is the table's present row, and
    `_millrace_fills` whether that gets values. Each column has its value, and in `_millrace_0`, … the value's version.

    Args:
        contract: the stream.
        columns: the version of a value of `up`, as SQL, by column.
        where: a condition that holds for all rows that the batch can change.
        floor: the lowest version that no snapshot replaced.
    """
    entered = ", ".join(
        f"max(CASE WHEN _millrace_column = {text(name)} THEN _millrace_held END) AS _millrace_{number}"
        for number, name in enumerate(columns)
    )
    row, present = f"greatest(s._version, coalesce(t._version, {NONE}))", f"coalesce(t._version, {NONE})"
    found, fills = [], []
    for number, (name, version) in enumerate(columns.items()):
        new = _counting(version, row, floor)
        old = _counting(f"coalesce(e._millrace_{number}, {present})", row, floor)
        newest = f"CASE WHEN {new} >= {old} THEN s.{quote(name)} ELSE t.{quote(name)} END"
        found.append(f"CASE WHEN greatest({new}, {old}) > {NONE} THEN {newest} END AS {quote(name)}")
        found.append(f"greatest({new}, {old}) AS _millrace_{number}")
        fills.append(f"{new} > {old}")
    lacks = [f"{version} < s._version" for version in columns.values() if version != WHOLE]
    some = f"EXISTS (FROM {side_table(contract)} o WHERE {keys_equal(contract, 'o', 's')})"
    late = "coalesce(t._version >= s._version, false)"
    return f"""CREATE OR REPLACE TEMP TABLE looked_up AS
WITH chosen AS (SELECT s.* FROM up s WHERE {" OR ".join([*lacks, some])}),
entries AS (SELECT {_keys(contract, "o")}, o._version, {entered} FROM {side_table(contract)} o GROUP BY ALL)
SELECT {_keys(contract, "s")}, {row} AS _version, {late} AS _millrace_late,
  {late} AND ({" OR ".join(fills)}) AS _millrace_fills, {", ".join(found)}
FROM chosen s LEFT JOIN (SELECT * FROM {table(contract)} t WHERE {where}) t ON {keys_equal(contract, "s", "t")}
LEFT JOIN entries e ON {keys_equal(contract, "e", "s")} AND e._version = t._version;
"""


def _counting(version: str, row: str, floor: str) -> str:
    return f"CASE WHEN {_counts(version, row, floor)} THEN {version} ELSE {NONE} END" if floor else version


def complete(contract: StreamContract, columns: Iterable[str]) -> str:
    """Return the UPDATE that gives newer staged upserts the values that they lack."""
    return _set_values(contract, "combined", columns, "NOT v._millrace_late")


def fill(contract: StreamContract, columns: Iterable[str], batch_id: str, where: str) -> str:
    """Return the UPDATE that gives rows of the table the values of late upserts: the batch then wrote these rows."""
    written = f"_batch_id = {text(batch_id)}"
    return _set_values(contract, table(contract), columns, f"v._millrace_fills AND {where}", written)


def _set_values(contract: StreamContract, target: str, columns: Iterable[str], condition: str, *more: str) -> str:
    values = ", ".join([*(f"{quote(name)} = v.{quote(name)}" for name in columns), *more])
    same = keys_equal(contract, "t", "v")
    return f"UPDATE {target} t SET {values} FROM looked_up v WHERE {same} AND {condition};\n"


def count_fills() -> str:
    """Return the query that counts late upserts that give a row of the table a value."""
    return "SELECT count(*) FROM looked_up WHERE _millrace_fills"


def enter(contract: StreamContract, columns: Iterable[str]) -> str:
    """Return SQL that enters the columns in which rows still lack a value of their own."""
    side, keys = side_table(contract), _keys(contract, "v")
    lacking = " UNION ALL ".join(
        f"SELECT {keys}, {text(name)}, v._version, v._millrace_{number} FROM looked_up v"
        f" WHERE v._millrace_{number} < v._version"
        for number, name in enumerate(columns)
    )
    return f"""DELETE FROM {side} o USING looked_up v WHERE {keys_equal(contract, "o", "v")};
INSERT INTO {side} {lacking};
"""


def forget_replaced(contract: StreamContract, columns: Iterable[str], floor: str) -> str:
    """Return SQL that empties values of upserts that a snapshot replaced, in rows that it did not replace."""
    side, lowest = side_table(contract), f"from_hex({text(floor)})"
    replaced = f"o._millrace_held > {NONE} AND o._millrace_held < {lowest} AND o._version >= {lowest}"
    emptied = "".join(
        f"UPDATE {table(contract)} t SET {quote(name)} = NULL FROM {side} o WHERE {keys_equal(contract, 't', 'o')}"
        f" AND t._version = o._version AND o._millrace_column = {text(name)} AND {replaced};\n"
        for name in columns
    )
    return f"{emptied}UPDATE {side} o SET _millrace_held = {NONE} WHERE {replaced};\n"


def erase(contract: StreamContract) -> str:
    """Return the DELETE of the entries of the keys in the table `erased`."""
    return f"DELETE FROM {side_table(contract)} o USING erased e WHERE {keys_equal(contract, 'o', 'e')}"
