"""SQL of unchanged values in BigQuery: a merge and columns in, the steps of its transaction that find them out.

The stream's table of unchanged values has one row per column in which a row of the stream's table lacks a value of its
own: `_version` is the row's, which tells whether the entry still belongs to it, and `_millrace_held` the version of the
upsert that the value is from, or `NONE` as long as no upsert has one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from millrace.contracts.stream import StreamContract
from millrace.warehouse import columns as shared
from millrace.warehouse.bigquery.merge_sql import Merge, keys_equal, upserts
from millrace.warehouse.bigquery.replace_sql import floor_bytes, rows
from millrace.warehouse.bigquery.sql import Namespace, column_type, quote, text

NONE, WHOLE = "b''", "s._version"


@dataclass(frozen=True)
class Unchanged:
    """What a merge looks up; no `columns` if neither batch nor table lacks values.

    Attributes:
        columns: the version of a staged value, as SQL, by column.
        marks: the text that stands for an unchanged value, by column of which a staged upsert has it.
        every: all upserts of the batch were staged, not only the newest of each key.
        before: the floor of the head before the batch.
        floor: the floor of the head after it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)
    every: bool = False
    before: str = ""
    floor: str = ""


def create(namespace: Namespace, contract: StreamContract) -> str:
    """Return SQL of the table of unchanged values."""
    keys = ", ".join(f"{quote(n)} {column_type(contract.columns[n].type)} NOT NULL" for n in contract.key)
    return (
        f"CREATE TABLE IF NOT EXISTS {namespace.unchanged(contract)} ({keys}, _millrace_column STRING NOT NULL,"
        " _version BYTES NOT NULL, _millrace_held BYTES NOT NULL)"
    )


def steps(merge: Merge, unchanged: Unchanged) -> tuple[Merge, list[str], list[str]]:
    """Return the merge of one upsert per key, and the statements before and after it.

    The stream's table is read only if a staged upsert or its row lacks values, and changed only if a row gets some.
    """
    before = []
    if unchanged.every:
        every = rows(merge.staged.upserts, shared.staged_upserts(merge.contract))
        before.append(_combine(merge.contract, every, unchanged))
        before.append(f"SET lost = (SELECT COUNT(*) FROM {every}) - (SELECT COUNT(*) FROM combined)")
        merge = replace(merge, staged=replace(merge.staged, upserts="combined"))
    if not unchanged.columns:
        return merge, before, []
    if unchanged.floor > unchanged.before:
        before += _forget_replaced(merge, unchanged)
    before += [_choose(merge, unchanged.columns), "SET found = (SELECT COUNT(*) FROM chosen)"]
    look = [_look_up(merge, unchanged), "SET filled = (SELECT COUNT(*) FROM looked_up WHERE _millrace_fills)"]
    look += [_complete(merge.contract, unchanged.columns)] * unchanged.every
    fill, enter = _fill(merge, unchanged.columns), _enter(merge, unchanged.columns)
    return merge, [*before, _if("found > 0", look)], [_if("filled > 0", [fill]), _if("found > 0", enter)]


def _if(condition: str, statements: Iterable[str]) -> str:
    return "\n".join([f"IF {condition} THEN", *(f"{statement};" for statement in statements), "END IF"])


def estimated(merge: Merge, unchanged: Unchanged) -> list[str]:
    """Return queries that read as much of the stream's table as the statements before the merge."""
    if not unchanged.columns:
        return []
    listed = ", ".join(f"t.{quote(n)}" for n in [*merge.contract.key, "_version", *unchanged.columns])
    return [f"SELECT {listed} FROM {merge.namespace.raw(merge.contract)} t WHERE {merge.where}"]


def erase(namespace: Namespace, contract: StreamContract, keys: str) -> str:
    """Return the DELETE of the entries of keys, which a SELECT names."""
    return _delete_entries(namespace, contract, f"({keys})")


def _keys(contract: StreamContract, alias: str) -> str:
    return ", ".join(f"{alias}.{quote(n)}" for n in contract.key)


def _counts(version: str, row: str, floor: str) -> str:
    """Return the condition for a value that counts for a row: a snapshot replaced both of them, or neither."""
    return f"({version} >= {floor_bytes(floor)} OR {row} < {floor_bytes(floor)})" if floor else "TRUE"


def _counting(version: str, row: str, floor: str) -> str:
    return f"IF({_counts(version, row, floor)}, {version}, {NONE})" if floor else version


def _combine(contract: StreamContract, every: str, unchanged: Unchanged) -> str:
    """Return SQL of the temporary table `combined`: of all upserts, the newest of each key.

    Where it has an unchanged value, it gets that of the newest older upsert, and `_millrace_0`, … that one's version.
    """
    keys = ", ".join(quote(n) for n in contract.key)
    newest = f"""CREATE TEMP TABLE combined AS
WITH newest AS (SELECT {keys}, MAX(_version) AS _version FROM {every} GROUP BY {keys}),
winners AS (SELECT e.* FROM {every} e JOIN newest n ON {keys_equal(contract, "e", "n")} AND e._version = n._version)"""
    if not unchanged.marks:
        return f"{newest}\nSELECT * FROM winners"
    marks = unchanged.marks.items()
    lacks = " OR ".join(f"w.{quote(name)} = {text(mark)}" for name, mark in marks)
    counts = _counts("e._version", "l._version", unchanged.floor)
    found, values, versions, joins = [], [], [], []
    for number, (name, mark) in enumerate(marks):
        real = f"COALESCE(e.{quote(name)} != {text(mark)}, TRUE) AND {counts}"
        own, missing = f"_millrace_{number}", f"f.{quote(contract.key[0])} IS NULL"
        found.append(f"MAX(IF({real}, e._version, NULL)) AS {own}")
        values.append(f"IF({missing}, w.{quote(name)}, e{number}.{quote(name)}) AS {quote(name)}")
        versions.append(f"IF({missing}, w._version, COALESCE(f.{own}, {NONE})) AS {own}")
        same = keys_equal(contract, f"e{number}", "f")
        joins.append(f"LEFT JOIN {every} e{number} ON {same} AND e{number}._version = f.{own}")
    return f"""{newest},
lacking AS (SELECT {_keys(contract, "w")}, w._version FROM winners w WHERE {lacks}),
found AS (SELECT {_keys(contract, "l")}, {", ".join(found)} FROM {every} e
  JOIN lacking l ON {keys_equal(contract, "e", "l")} GROUP BY {_keys(contract, "l")})
SELECT w.* REPLACE ({", ".join(values)}), {", ".join(versions)}
FROM winners w LEFT JOIN found f ON {keys_equal(contract, "w", "f")}
{" ".join(joins)}"""


def _choose(merge: Merge, columns: Mapping[str, str]) -> str:
    """Return SQL of the temporary table `chosen`: the staged upserts that lack values, or whose rows do."""
    contract = merge.contract
    lacks = [f"{version} < s._version" for version in columns.values() if version != WHOLE]
    some = f"k.{quote(contract.key[0])} IS NOT NULL"
    known = f"SELECT DISTINCT {_keys(contract, 'o')} FROM {merge.namespace.unchanged(contract)} o"
    return (
        f"CREATE TEMP TABLE chosen AS SELECT s.* FROM {upserts(merge)} s LEFT JOIN ({known}) k"
        f" ON {keys_equal(contract, 'k', 's')} WHERE {' OR '.join([*lacks, some])}"
    )


def _look_up(merge: Merge, unchanged: Unchanged) -> str:
    """Return SQL of the temporary table `looked_up`: what the chosen upserts and their rows become.

    `_version` is that of the row after the merge, `_millrace_late` says whether that is the table's present row, and
    `_millrace_fills` whether that gets values. Each column has its value, and in `_millrace_0`, … the value's version.
    """
    contract, side = merge.contract, merge.namespace.unchanged(merge.contract)
    kinds = shared.payload(contract)
    present, late = f"COALESCE(t._version, {NONE})", "COALESCE(t._version >= s._version, FALSE)"
    row = f"GREATEST(s._version, {present})"
    entered, found, fills = [], [], []
    for number, (name, version) in enumerate(unchanged.columns.items()):
        own, stored = f"_millrace_{number}", _as_staged(f"t.{quote(name)}", kinds[name])
        new = _counting(version, row, unchanged.floor)
        old = _counting(f"COALESCE(e.{own}, {present})", row, unchanged.floor)
        newest = f"IF({new} >= {old}, s.{quote(name)}, {stored})"
        entered.append(f"MAX(IF(o._millrace_column = {text(name)}, o._millrace_held, NULL)) AS {own}")
        found.append(f"IF(GREATEST({new}, {old}) > {NONE}, {newest}, NULL) AS {quote(name)}")
        found.append(f"GREATEST({new}, {old}) AS {own}")
        fills.append(f"{new} > {old}")
    return f"""CREATE TEMP TABLE looked_up AS
WITH entries AS (SELECT {_keys(contract, "o")}, o._version, {", ".join(entered)} FROM {side} o
  GROUP BY {_keys(contract, "o")}, o._version)
SELECT {_keys(contract, "s")}, {row} AS _version, {late} AS _millrace_late,
  {late} AND ({" OR ".join(fills)}) AS _millrace_fills, {", ".join(found)}
FROM chosen s
LEFT JOIN (SELECT t.* FROM {merge.namespace.raw(contract)} t WHERE {merge.where}) t ON {keys_equal(contract, "s", "t")}
LEFT JOIN entries e ON {keys_equal(contract, "e", "s")} AND e._version = t._version"""


def _as_staged(value: str, kind: str) -> str:
    return f"IF({value} IS NULL, NULL, TO_JSON_STRING({value}))" if kind == "json" else value


def _complete(contract: StreamContract, names: Iterable[str]) -> str:
    """Return the UPDATE that gives newer staged upserts the values that they lack."""
    return _set_values(contract, "combined", {name: f"v.{quote(name)}" for name in names}, "NOT v._millrace_late")


def _fill(merge: Merge, names: Iterable[str]) -> str:
    """Return the UPDATE that gives rows of the table the values of late upserts: the batch then wrote these rows."""
    contract, kinds = merge.contract, shared.payload(merge.contract)
    parsed = "PARSE_JSON(v.{0}, wide_number_mode => 'round')"
    values = {name: (parsed if kinds[name] == "json" else "v.{0}").format(quote(name)) for name in names}
    condition = f"v._millrace_fills AND {merge.where}"
    return _set_values(contract, merge.namespace.raw(contract), values | {"_batch_id": "@batch_id"}, condition)


def _set_values(contract: StreamContract, target: str, values: Mapping[str, str], condition: str) -> str:
    shown = ", ".join(f"{quote(name)} = {value}" for name, value in values.items())
    same = keys_equal(contract, "t", "v")
    return f"UPDATE {target} t SET {shown} FROM looked_up v WHERE {same} AND {condition}"


def _enter(merge: Merge, names: Iterable[str]) -> list[str]:
    """Return statements that enter the columns in which rows still lack a value of their own."""
    contract, keys = merge.contract, _keys(merge.contract, "v")
    lacking = " UNION ALL ".join(
        f"SELECT {keys}, {text(name)} AS _millrace_column, v._version, v._millrace_{number} FROM looked_up v"
        f" WHERE v._millrace_{number} < v._version"
        for number, name in enumerate(names)
    )
    listed = ", ".join([*(quote(n) for n in contract.key), "_millrace_column", "_version", "_millrace_held"])
    return [
        _delete_entries(merge.namespace, contract, "looked_up"),
        f"INSERT INTO {merge.namespace.unchanged(contract)} ({listed}) {lacking}",
    ]


def _delete_entries(namespace: Namespace, contract: StreamContract, keys: str) -> str:
    same = keys_equal(contract, "k", "o")
    return f"DELETE FROM {namespace.unchanged(contract)} o WHERE EXISTS (SELECT 1 FROM {keys} k WHERE {same})"


def _forget_replaced(merge: Merge, unchanged: Unchanged) -> list[str]:
    """Return statements that empty values of upserts that a snapshot replaced, in rows that it did not replace."""
    contract, lowest = merge.contract, floor_bytes(unchanged.floor)
    side = merge.namespace.unchanged(contract)
    replaced = f"o._millrace_held > {NONE} AND o._millrace_held < {lowest} AND o._version >= {lowest}"
    emptied = [
        f"UPDATE {merge.namespace.raw(contract)} t SET {quote(name)} = NULL FROM {side} o"
        f" WHERE {keys_equal(contract, 't', 'o')} AND t._version = o._version"
        f" AND o._millrace_column = {text(name)} AND {replaced}"
        for name in unchanged.columns
    ]
    return [*emptied, f"UPDATE {side} o SET _millrace_held = {NONE} WHERE {replaced}"]
