"""SQL of the merge in DuckDB: a contract and staged files in, statements that change the stream's table out; pure text.

Upserts are merged first, then deletes. Rows of the table are looked up by key alone, and read again only where both
registers of a key must be kept. Versions are the most expensive column to read: a batch that is newer than the whole
table does not read them. A newer upsert replaces its row by DELETE and INSERT, which is faster than `MERGE INTO`.

A row is addressed by its key, never by DuckDB's `rowid`: a column of that name hides it.
"""

from collections.abc import Mapping, Sequence

from millrace.contracts.stream import StreamContract
from millrace.warehouse.duckdb.sql import PROVENANCE, column_type, payload, quote, table, text

MOST_LISTED = 100


def keys_equal(contract: StreamContract, left: str, right: str) -> str:
    """Return the join condition of two tables by key; keys are NOT NULL, so `=` is enough."""
    return " AND ".join(f"{left}.{quote(n)} = {right}.{quote(n)}" for n in contract.key)


def stage(contract: StreamContract, upserts: str, deletes: str, *, every: bool = False) -> str:
    """Return SQL of the views `staged` (the upserts; `every`, if keys may have several) and `del`.

    `upserts` and `deletes` are relations to select from, empty where there are none.
    """
    keys = {n: column_type(contract.columns[n].type) for n in contract.key}
    up = keys | payload(contract) | {"_version": "BLOB"} | PROVENANCE
    gone = keys | {"_delete_version": "BLOB", "_deleted_at": "TIMESTAMPTZ"} | PROVENANCE
    return _view("every" if every else "staged", up, upserts) + _view("del", gone, deletes)


def _view(name: str, columns: dict[str, str], relation: str) -> str:
    return f"CREATE OR REPLACE TEMP VIEW {name} AS {_rows(columns, relation)};\n"


def _rows(columns: dict[str, str], relation: str) -> str:
    if not relation:
        return "SELECT " + ", ".join(f"CAST(NULL AS {t}) AS {quote(n)}" for n, t in columns.items()) + " WHERE false"
    shown = ", ".join(f"CAST({quote(n)} AS {t}) AS {quote(n)}" for n, t in columns.items())
    return f"SELECT {shown} FROM {relation}"


def not_replaced(floor: str) -> str:
    """Return the condition for rows of generations that no snapshot replaced; all other rows are stale."""
    return f"_version >= from_hex({text(floor)})" if floor else "true"


def is_merged(contract: StreamContract, floor: str, spares: bool, mended: bool) -> str:
    """Return the condition for staged upserts `s` that are merged; all others are stale.

    With `spares`, rows of replaced generations are merged if `spared` has their key, with a version that is not higher;
    with `mended`, rows of an object are not merged if `mended` has a newer generation of it.
    """
    spared = "false"
    if spares:
        spared = f"EXISTS (FROM spared k WHERE {keys_equal(contract, 'k', 's')} AND s._version >= k._lowest)"
    outdated = f"EXISTS (FROM mended m WHERE {_is_outdated('s')})" if mended else "false"
    return f"({not_replaced(floor)} OR {spared}) AND NOT {outdated}"


def choose_merged(condition: str) -> str:
    """Return SQL of the view `up`: the staged upserts that are merged."""
    return f"CREATE OR REPLACE TEMP VIEW up AS FROM staged s WHERE {condition};\n"


def keep(contract: StreamContract, relations: Mapping[str, str]) -> str:
    """Return SQL of the temporary table `kept`: keys of quarantined rows, each with its snapshot; from relations."""
    columns = {n: column_type(contract.columns[n].type) for n in contract.key}
    parts = [f"SELECT *, {text(s)} AS _snapshot FROM ({_rows(columns, r)})" for s, r in {"": "", **relations}.items()]
    return f"CREATE OR REPLACE TEMP TABLE kept AS {' UNION ALL '.join(parts)};\n"


def spare(contract: StreamContract, floor: str, before: str) -> str:
    """Return SQL of the temporary table `spared`: keys that the newest snapshot has in quarantine only, so that rows of
    older ones count; each with the lowest version that counts.

    Args:
        contract: the stream.
        floor: the newest snapshot.
        before: the newest snapshot that replaced the table's rows before this batch. Of the keys that it spared, which
            are those that are older and alive in the table, all versions count; of other keys, only newer ones.
    """
    keys, lowest = ", ".join(quote(n) for n in contract.key), f"from_hex({text(before)})"
    alive = f"SELECT {keys} FROM {table(contract)} t WHERE {_is_open(before)}"
    if floor == before:
        return f"CREATE OR REPLACE TEMP TABLE spared AS SELECT *, ''::BLOB AS _lowest FROM ({alive});\n"
    version = f"CASE WHEN EXISTS (FROM alive t WHERE {keys_equal(contract, 't', 'k')}) THEN ''::BLOB ELSE {lowest} END"
    return (
        f"CREATE OR REPLACE TEMP TABLE spared AS WITH alive AS ({alive}) SELECT DISTINCT {keys}, {version} AS _lowest"
        f" FROM kept k WHERE _snapshot = {text(floor)};\n"
    )


def remember_spared(contract: StreamContract, floor: str) -> str:
    """Return SQL that keeps a row without an upsert for each spared key that is not alive: an older snapshot that comes
    later may have its values."""
    keys = ", ".join(quote(n) for n in contract.key)
    same = keys_equal(contract, "t", "k")
    lowest = "CASE WHEN k._lowest > ''::BLOB THEN k._lowest END"
    return f"""INSERT INTO {table(contract)} ({keys}, _delete_version)
SELECT {keys}, {lowest} FROM spared k WHERE NOT EXISTS (FROM {table(contract)} t WHERE {same});
UPDATE {table(contract)} t SET _version = NULL FROM spared k
WHERE {same} AND t._version < from_hex({text(floor)}) AND t._delete_version > t._version;
"""


def _is_open(floor: str) -> str:
    """Return the condition for rows of the table that are older than a snapshot and not deleted."""
    lowest = f"from_hex({text(floor)})"
    return (
        f"coalesce(t._version < {lowest}, true) AND coalesce(t._delete_version < coalesce(t._version, {lowest}), true)"
    )


def delete_absent(contract: StreamContract, batch_id: str, floor: str) -> str:
    """Return the UPDATE that deletes live rows of older generations which a snapshot neither has nor quarantined."""
    own = f"k._snapshot = {text(floor)}"
    unkept = f" AND NOT EXISTS (FROM kept k WHERE {own} AND {keys_equal(contract, 'k', 't')})" if contract.key else ""
    return (
        f"UPDATE {table(contract)} t SET _delete_version = from_hex({text(floor)}), _deleted_at = $1,"
        f" _delete_batch_id = {text(batch_id)} WHERE {_is_open(floor)}{unkept}"
    )


def generation_text(generation: int) -> str:
    """Return an object's generation as a version's hexadecimal digits contain it."""
    return f"{generation:016X}"


def _is_outdated(rows: str) -> str:
    """Return the condition that `mended` has a newer generation of a row's object; versions end with 8 bytes each of
    the generation, and of the row, with a digest of 4 bytes between them."""
    return f"m.object = {rows}._object AND substr(hex({rows}._version), -40, 16) < m.generation"


def delete_outdated(contract: StreamContract, batch_id: str) -> str:
    """Return the UPDATE that deletes the rows of older generations of mended objects, in a stream without a key."""
    return (
        f"UPDATE {table(contract)} t SET _delete_version = t._version || '\\x00'::BLOB, _deleted_at = $1,"
        f" _delete_batch_id = {text(batch_id)} FROM mended m"
        f" WHERE {_is_outdated('t')} AND (t._delete_version IS NULL OR t._delete_version < t._version)"
    )


def touched(contract: StreamContract) -> str:
    """Return the query for a batch's partition values: their number, at most `MOST_LISTED` of them, their bounds."""
    column = quote(str(contract.partition and contract.partition.column))
    return f"""WITH days AS (SELECT {column} AS p FROM up UNION SELECT {column} FROM del)
SELECT count(*), (SELECT list(p::VARCHAR) FROM (SELECT p FROM days LIMIT {MOST_LISTED})), min(p)::VARCHAR,
  max(p)::VARCHAR FROM days"""


def within(contract: StreamContract, count: int, values: Sequence[str], low: str, high: str) -> str:
    """Return a condition of literals on the table's rows, so that DuckDB skips parts that the batch does not change."""
    name = str(contract.partition and contract.partition.column)
    kind, column = column_type(contract.columns[name].type), f"t.{quote(name)}"
    bounds = f"{column} BETWEEN {text(low)}::{kind} AND {text(high)}::{kind}"
    if count > MOST_LISTED:
        return bounds
    return f"{bounds} AND {column} IN ({', '.join(f'{text(value)}::{kind}' for value in values)})"


def versions() -> str:
    """Return the query for the oldest and the newest version of the staged upserts."""
    return "SELECT min(_version), max(_version) FROM up"


def table_version(contract: StreamContract) -> str:
    """Return the query for the newest version of an upsert in the table."""
    return f"SELECT max(_version) FROM {table(contract)}"


def is_newer(rising: bool) -> str:
    """Return the condition for a staged upsert newer than its row; `rising` skips the table's versions."""
    return "true" if rising else "coalesce(t._version < u._version, true)"


def match_upserts(contract: StreamContract, where: str, rising: bool) -> str:
    """Return SQL of the temporary table `hit`: staged keys that the table has, if they are newer, and their delete.

    With `rising` every staged upsert is newer than the whole table.
    """
    keys = ", ".join(f"u.{quote(n)}" for n in contract.key)
    return f"""CREATE OR REPLACE TEMP TABLE hit AS
SELECT {keys}, {is_newer(rising)} AS _newer, t._delete_version, t._deleted_at,
  t._delete_batch_id
FROM up u JOIN {table(contract)} t ON {keys_equal(contract, "u", "t")} WHERE {where};
"""


def match_deletes(contract: StreamContract, where: str) -> str:
    """Return SQL of the temporary table `gone`: staged deletes with the state of their keys in the table."""
    first = quote(contract.key[0])
    return f"""CREATE OR REPLACE TEMP TABLE gone AS
SELECT d.*, t.{first} IS NOT NULL AS _known, t._version IS NULL AS _bare,
  coalesce(t._delete_version < d._delete_version, true) AS _newer
FROM del d LEFT JOIN (SELECT * FROM {table(contract)} t WHERE {where}) t ON {keys_equal(contract, "d", "t")};
"""


def count_replaced(condition: str) -> str:
    """Return the query that counts staged upserts that a snapshot or a newer generation of their object replaced."""
    return f"SELECT count(*) FROM staged s WHERE NOT ({condition})"


def count_stale(contract: StreamContract, again: bool) -> str:
    """Return the query that counts staged upserts not newer than their rows; `again` when objects are redriven."""
    if not contract.key:
        return f"SELECT count(*) FROM up s SEMI JOIN {table(contract)} t USING (_version)" if again else "SELECT 0"
    return "SELECT count(*) FROM hit WHERE NOT _newer"


def count_stale_deletes() -> str:
    """Return the query that counts staged deletes not newer than the table's."""
    return "SELECT count(*) FROM gone WHERE _known AND NOT _newer"


def count_joined() -> str:
    """Return the query that counts keys whose row must be read: their upsert is not newer, or they have a delete."""
    return "SELECT count(*) FROM hit WHERE NOT _newer OR _delete_version IS NOT NULL"


def merge_upserts(contract: StreamContract, batch_id: str, where: str, joined: bool) -> str:
    """Return SQL that replaces rows by newer upserts; `joined` keeps the deletes of keys and skips late upserts."""
    columns, source = [*contract.key, *payload(contract), "_version", *PROVENANCE], "up u"
    carried = ["_delete_version", "_deleted_at", "_delete_batch_id"] if joined else []
    if joined:
        source = f"up u LEFT JOIN hit h ON {keys_equal(contract, 'u', 'h')} WHERE coalesce(h._newer, true)"
    listed = ", ".join(quote(n) for n in [*columns, *carried])
    shown = ", ".join([*(f"u.{quote(n)}" for n in columns), *(f"h.{quote(n)}" for n in carried)])
    same = f"{keys_equal(contract, 't', 'h')} AND {where}"
    return f"""DELETE FROM {table(contract)} t USING hit h WHERE {same} AND h._newer;
INSERT INTO {table(contract)} ({listed}, _batch_id) SELECT {shown}, {text(batch_id)} FROM {source};
"""


def merge_deletes(contract: StreamContract, batch_id: str, where: str) -> str:
    """Return SQL that writes newer deletes to their register; a key without an upsert gets the delete's provenance."""
    target, own = table(contract), text(batch_id)
    same = f"{keys_equal(contract, 't', 'g')} AND {where}"
    origin = ", ".join(f"{quote(n)} = g.{quote(n)}" for n in PROVENANCE)
    columns = ", ".join(quote(n) for n in [*contract.key, "_delete_version", "_deleted_at", *PROVENANCE])
    return f"""UPDATE {target} t SET _delete_version = g._delete_version, _deleted_at = g._deleted_at,
  _delete_batch_id = {own} FROM gone g WHERE {same} AND g._known AND g._newer;
UPDATE {target} t SET {origin} FROM gone g WHERE {same} AND g._known AND g._newer AND g._bare;
INSERT INTO {target} ({columns}, _delete_batch_id) SELECT {columns}, {own} FROM gone WHERE NOT _known;
"""


def append(contract: StreamContract, batch_id: str, again: bool) -> str:
    """Return the INSERT of rows without a key, each once: the ledger lists objects, and versions identify rows."""
    columns = ", ".join(quote(n) for n in [*payload(contract), "_version", *PROVENANCE])
    new = f" ANTI JOIN {table(contract)} t USING (_version)" if again else ""
    return f"INSERT INTO {table(contract)} ({columns}, _batch_id) SELECT {columns}, {text(batch_id)} FROM up{new};\n"


def count_merged(contract: StreamContract, batch_id: str, where: str) -> str:
    """Return the query that counts registers which the batch wrote."""
    counts = (
        f"(SELECT count(*) FROM {table(contract)} t WHERE {column} = {text(batch_id)} AND {where})"
        for column in ("_batch_id", "_delete_batch_id")
    )
    return f"SELECT {' + '.join(counts)}"
