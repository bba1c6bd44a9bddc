"""SQL of the merge in DuckDB: staged files into a stream's table; pure text.

Bodies come first, then deletes. Rows of the table are looked up by key alone, and read again only where both registers
of a key must be kept. Of all columns versions are the dearest to read: a batch that is newer than the whole table does
not. A body that is newer is deleted and inserted whole, which DuckDB does faster than `MERGE INTO`.

A row is addressed by its key, never by DuckDB's `rowid`: a column of that name hides it.
"""

from collections.abc import Sequence

from millrace.contracts.stream import StreamContract
from millrace.warehouse.duckdb.sql import BODY, bodies, column_type, quote, table, text

MOST_LISTED = 100


def keys_equal(contract: StreamContract, left: str, right: str) -> str:
    """Join condition: keys are NOT NULL, so they are compared bare."""
    return " AND ".join(f"{left}.{quote(n)} = {right}.{quote(n)}" for n in contract.key)


def stage(contract: StreamContract, upserts: str, deletes: str, floor: str) -> str:
    """Views of what is staged: `staged` bodies, of which `up` are of no generation that was replaced, and `del`.

    `upserts` and `deletes` are what to select from, empty where there are none.
    """
    keys = {n: column_type(contract.columns[n].type) for n in contract.key}
    up = keys | bodies(contract) | {"_version": "BLOB"} | BODY
    gone = keys | {"_delete_version": "BLOB", "_deleted_at": "TIMESTAMPTZ"} | BODY
    return (
        _view("staged", up, upserts)
        + f"CREATE OR REPLACE TEMP VIEW up AS FROM staged WHERE {not_replaced(floor)};\n"
        + _view("del", gone, deletes)
    )


def _view(name: str, columns: dict[str, str], relation: str) -> str:
    return f"CREATE OR REPLACE TEMP VIEW {name} AS {_rows(columns, relation)};\n"


def _rows(columns: dict[str, str], relation: str) -> str:
    if not relation:
        return "SELECT " + ", ".join(f"CAST(NULL AS {t}) AS {quote(n)}" for n, t in columns.items()) + " WHERE false"
    shown = ", ".join(f"CAST({quote(n)} AS {t}) AS {quote(n)}" for n, t in columns.items())
    return f"SELECT {shown} FROM {relation}"


def not_replaced(floor: str) -> str:
    """Rows of generations that no snapshot has replaced; others are stale, whatever the table has."""
    return f"_version >= from_hex({text(floor)})" if floor else "true"


def keep(contract: StreamContract, relation: str) -> str:
    """Temporary table `kept` of keys that the snapshot has in refused rows."""
    if not contract.key:
        return ""
    columns = {n: column_type(contract.columns[n].type) for n in contract.key}
    return f"CREATE OR REPLACE TEMP TABLE kept AS {_rows(columns, relation)};\n"


def bury_absent(contract: StreamContract, batch_id: str, floor: str) -> str:
    """Deletes that the snapshot tells by leaving keys out: live rows of older generations, in no refused row."""
    refused = f" AND NOT EXISTS (FROM kept k WHERE {keys_equal(contract, 'k', 't')})" if contract.key else ""
    return (
        f"UPDATE {table(contract)} t SET _delete_version = from_hex({text(floor)}), _deleted_at = $1,"
        f" _delete_batch_id = {text(batch_id)} WHERE _version < from_hex({text(floor)})"
        f" AND (_delete_version IS NULL OR _delete_version < _version){refused}"
    )


def touched(contract: StreamContract) -> str:
    """How many values the partition column has in the batch, as many of them as are listed, and their bounds."""
    column = quote(str(contract.partition and contract.partition.column))
    return f"""WITH found AS (SELECT {column} AS p FROM up UNION SELECT {column} FROM del)
SELECT count(*), (SELECT list(p::VARCHAR) FROM (SELECT p FROM found LIMIT {MOST_LISTED})), min(p)::VARCHAR,
  max(p)::VARCHAR FROM found"""


def within(contract: StreamContract, count: int, values: Sequence[str], low: str, high: str) -> str:
    """Condition on the table's rows, as literals, so that parts which the batch does not touch are not read."""
    name = str(contract.partition and contract.partition.column)
    kind, column = column_type(contract.columns[name].type), f"t.{quote(name)}"
    bounds = f"{column} BETWEEN {text(low)}::{kind} AND {text(high)}::{kind}"
    if count > MOST_LISTED:
        return bounds
    return f"{bounds} AND {column} IN ({', '.join(f'{text(value)}::{kind}' for value in values)})"


def versions() -> str:
    """The oldest and the newest version of the staged bodies."""
    return "SELECT min(_version), max(_version) FROM up"


def table_version(contract: StreamContract) -> str:
    """The newest version of the table, of a body."""
    return f"SELECT max(_version) FROM {table(contract)}"


def is_newer(rising: bool) -> str:
    """Whether a staged body is newer than the table's; when all of a batch are, the table's versions are not read."""
    return "true" if rising else "coalesce(t._version < u._version, true)"


def match_bodies(contract: StreamContract, where: str, rising: bool) -> str:
    """Temporary table `hit`: keys of the table that bodies are staged for, whether they are newer, and their delete.

    `rising`: each staged body is known to be newer than all of the table's.
    """
    keys = ", ".join(f"u.{quote(n)}" for n in contract.key)
    return f"""CREATE OR REPLACE TEMP TABLE hit AS
SELECT {keys}, {is_newer(rising)} AS _newer, t._delete_version, t._deleted_at,
  t._delete_batch_id
FROM up u JOIN {table(contract)} t ON {keys_equal(contract, "u", "t")} WHERE {where};
"""


def match_deletes(contract: StreamContract, where: str) -> str:
    """Temporary table `gone`: the staged deletes, whether the table knows the key, a body of it, and a newer delete."""
    first = quote(contract.key[0])
    return f"""CREATE OR REPLACE TEMP TABLE gone AS
SELECT d.*, t.{first} IS NOT NULL AS _known, t._version IS NULL AS _bare,
  coalesce(t._delete_version < d._delete_version, true) AS _newer
FROM del d LEFT JOIN (SELECT * FROM {table(contract)} t WHERE {where}) t ON {keys_equal(contract, "d", "t")};
"""


def count_replaced(floor: str) -> str:
    """Staged bodies of generations that a snapshot has replaced."""
    return f"SELECT count(*) FROM staged WHERE NOT {not_replaced(floor)}"


def count_stale(contract: StreamContract, again: bool) -> str:
    """Staged bodies that are not newer than the table's; `again` when objects are merged once more."""
    if not contract.key:
        return f"SELECT count(*) FROM up s SEMI JOIN {table(contract)} t USING (_version)" if again else "SELECT 0"
    return "SELECT count(*) FROM hit WHERE NOT _newer"


def count_stale_deletes() -> str:
    """Staged deletes that are not newer than the table's."""
    return "SELECT count(*) FROM gone WHERE _known AND NOT _newer"


def count_joined() -> str:
    """Keys of which it matters what the table has: a body that is not newer, or a delete to bear."""
    return "SELECT count(*) FROM hit WHERE NOT _newer OR _delete_version IS NOT NULL"


def merge_bodies(contract: StreamContract, batch_id: str, where: str, joined: bool) -> str:
    """Newer bodies in place of older ones; `joined`: each bears the delete that its key had, and none that is late."""
    columns, came = [*contract.key, *bodies(contract), "_version", *BODY], "up u"
    carried = ["_delete_version", "_deleted_at", "_delete_batch_id"] if joined else []
    if joined:
        came = f"up u LEFT JOIN hit h ON {keys_equal(contract, 'u', 'h')} WHERE coalesce(h._newer, true)"
    listed = ", ".join(quote(n) for n in [*columns, *carried])
    shown = ", ".join([*(f"u.{quote(n)}" for n in columns), *(f"h.{quote(n)}" for n in carried)])
    same = f"{keys_equal(contract, 't', 'h')} AND {where}"
    return f"""DELETE FROM {table(contract)} t USING hit h WHERE {same} AND h._newer;
INSERT INTO {table(contract)} ({listed}, _batch_id) SELECT {shown}, {text(batch_id)} FROM {came};
"""


def merge_deletes(contract: StreamContract, batch_id: str, where: str) -> str:
    """Newer deletes: a register of their own beside the body; a key without a body bears its delete's origin."""
    target, own = table(contract), text(batch_id)
    same = f"{keys_equal(contract, 't', 'g')} AND {where}"
    origin = ", ".join(f"{quote(n)} = g.{quote(n)}" for n in BODY)
    columns = ", ".join(quote(n) for n in [*contract.key, "_delete_version", "_deleted_at", *BODY])
    return f"""UPDATE {target} t SET _delete_version = g._delete_version, _deleted_at = g._deleted_at,
  _delete_batch_id = {own} FROM gone g WHERE {same} AND g._known AND g._newer;
UPDATE {target} t SET {origin} FROM gone g WHERE {same} AND g._known AND g._newer AND g._bare;
INSERT INTO {target} ({columns}, _delete_batch_id) SELECT {columns}, {own} FROM gone WHERE NOT _known;
"""


def append(contract: StreamContract, batch_id: str, again: bool) -> str:
    """Rows without a key: each is inserted once, as the ledger knows each object, and the version each row of it."""
    columns = ", ".join(quote(n) for n in [*bodies(contract), "_version", *BODY])
    new = f" ANTI JOIN {table(contract)} t USING (_version)" if again else ""
    return f"INSERT INTO {table(contract)} ({columns}, _batch_id) SELECT {columns}, {text(batch_id)} FROM up{new};\n"


def count_merged(contract: StreamContract, batch_id: str, where: str) -> str:
    """Registers of the table that bear the batch."""
    counts = (
        f"(SELECT count(*) FROM {table(contract)} t WHERE {column} = {text(batch_id)} AND {where})"
        for column in ("_batch_id", "_delete_batch_id")
    )
    return f"SELECT {' + '.join(counts)}"
