"""SQL of the DuckDB warehouse, built from contracts; pure text."""

from collections.abc import Iterable, Sequence

from contracts import names
from contracts.errors import ContractError
from contracts.ledger import LedgerEntry
from contracts.stream import DECIMAL, StreamContract

DECIMAL_DIGITS = 38
TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
    "json": "JSON",
    "bytes": "BLOB",
}
CONTRACT_TYPES = {"TIMESTAMP WITH TIME ZONE": "timestamp"}
BODY = {"_object": "VARCHAR", "_row": "BIGINT", "_extracted_at": "TIMESTAMPTZ", "_epoch": "BIGINT"}
REGISTERS = {
    "_version": "BLOB",
    "_delete_version": "BLOB",
    "_deleted_at": "TIMESTAMPTZ",
    "_batch_id": "VARCHAR",
    "_delete_batch_id": "VARCHAR",
}
LEDGER_FIELDS = tuple(LedgerEntry.model_fields)
LEDGER_COLUMNS = ", ".join(f'"{name}"' for name in LEDGER_FIELDS)
OPS = """
CREATE SCHEMA IF NOT EXISTS ops;
CREATE SEQUENCE IF NOT EXISTS ops.ledger_seq;
CREATE TABLE IF NOT EXISTS ops.ledger (
  seq BIGINT DEFAULT nextval('ops.ledger_seq'), kind VARCHAR NOT NULL, batch_id VARCHAR NOT NULL,
  source VARCHAR NOT NULL, stream VARCHAR NOT NULL, run_id VARCHAR NOT NULL, "at" TIMESTAMPTZ NOT NULL,
  rows_in BIGINT NOT NULL, merged BIGINT NOT NULL, superseded BIGINT NOT NULL, stale BIGINT NOT NULL,
  quarantined BIGINT NOT NULL, tombstoned_by_absence BIGINT NOT NULL, detail VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS ops.ledger_objects (
  batch_id VARCHAR NOT NULL, source VARCHAR NOT NULL, stream VARCHAR NOT NULL, object VARCHAR NOT NULL,
  generation BIGINT NOT NULL, job_id BIGINT NOT NULL, "rows" BIGINT);
CREATE TABLE IF NOT EXISTS ops.redrives (
  source VARCHAR NOT NULL, stream VARCHAR NOT NULL, object VARCHAR NOT NULL, generation BIGINT NOT NULL,
  attempt BIGINT NOT NULL, manifest VARCHAR NOT NULL, run_id VARCHAR NOT NULL, "at" TIMESTAMPTZ NOT NULL);
CREATE TABLE IF NOT EXISTS ops.quarantine (
  batch_id VARCHAR NOT NULL, source VARCHAR NOT NULL, stream VARCHAR NOT NULL, reason VARCHAR NOT NULL,
  object VARCHAR NOT NULL, generation BIGINT NOT NULL, "row" BIGINT, "rows" BIGINT NOT NULL, detail VARCHAR NOT NULL,
  attempts BIGINT NOT NULL, "at" TIMESTAMPTZ NOT NULL);
"""


def quote(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A literal."""
    return "'" + value.replace("'", "''") + "'"


def column_type(declared: str) -> str:
    """DuckDB type of a contract type.

    Raises:
        ContractError: DuckDB has no decimals of that many digits; BigQuery has.
    """
    decimal = DECIMAL.match(declared)
    if decimal and int(decimal[1]) > DECIMAL_DIGITS:
        raise ContractError(f"{declared}: DuckDB's decimals have {DECIMAL_DIGITS} digits at most")
    return TYPES.get(declared, declared.upper())


def contract_type(stored: str) -> str:
    """Contract type of a DuckDB type."""
    return {v: k for k, v in TYPES.items()}.get(stored) or CONTRACT_TYPES.get(stored) or stored.lower()


def table(contract: StreamContract) -> str:
    """The raw table, qualified."""
    return f"{quote(names.raw_schema(contract.source))}.{quote(contract.stream)}"


def head_table(contract: StreamContract) -> str:
    """The one-row table that serialises commits, qualified."""
    return f"ops.{quote(names.head_table(contract.source, contract.stream))}"


def bodies(contract: StreamContract) -> dict[str, str]:
    """Columns that an upsert replaces together, with their types; the key is not among them."""
    declared = {n: c.type for n, c in contract.columns.items()} | {n: contract.order_types[n] for n in contract.order}
    return {n: column_type(t) for n, t in declared.items() if n not in contract.key}


def all_columns(contract: StreamContract) -> dict[str, str]:
    """Columns of the raw table, with their types."""
    keys = {n: column_type(contract.columns[n].type) for n in contract.key}
    return keys | bodies(contract) | REGISTERS | BODY


def create_table(contract: StreamContract) -> str:
    """Schema, raw table and head of a stream."""
    columns = ", ".join(
        f"{quote(n)} {t}{' NOT NULL' if n in contract.key else ''}" for n, t in all_columns(contract).items()
    )
    head = head_table(contract)
    return f"""
CREATE SCHEMA IF NOT EXISTS {quote(names.raw_schema(contract.source))};
CREATE TABLE IF NOT EXISTS {table(contract)} ({columns});
CREATE TABLE IF NOT EXISTS {head} (
  epoch BIGINT NOT NULL, batch_id VARCHAR NOT NULL, connection_epoch BIGINT NOT NULL,
  oldest_pending_day VARCHAR NOT NULL, floor VARCHAR NOT NULL DEFAULT '');
ALTER TABLE {head} ADD COLUMN IF NOT EXISTS floor VARCHAR DEFAULT '';
INSERT INTO {head} SELECT 0, '', 0, '', '' WHERE NOT EXISTS (FROM {head});
"""


def advance_head(contract: StreamContract) -> str:
    """Moves the head from the epoch that a batch was opened at; no row changes when it has moved."""
    return (
        f"UPDATE {head_table(contract)} SET epoch = epoch + 1, batch_id = ?, connection_epoch = ?,"
        " oldest_pending_day = ?, floor = ? WHERE epoch = ?"
    )


def create_view(contract: StreamContract, learned: Iterable[str] = ()) -> str:
    """The view of live rows; `learned` are columns beyond the contract."""
    view = f"{quote(names.raw_schema(contract.source))}.{quote(names.live_view(contract.stream))}"
    shown = ", ".join(quote(n) for n in [*contract.columns, *learned, "_extracted_at", "_batch_id", "_object"])
    return (
        f"CREATE OR REPLACE VIEW {view} AS SELECT {shown} FROM {table(contract)}"
        " WHERE _version IS NOT NULL AND (_delete_version IS NULL OR _delete_version < _version)"
    )


def keys_equal(contract: StreamContract, left: str, right: str) -> str:
    """Join condition: keys are NOT NULL, so they are compared bare."""
    return " AND ".join(f"{left}.{quote(n)} = {right}.{quote(n)}" for n in contract.key)


def stage(contract: StreamContract, upserts: Sequence[str], deletes: Sequence[str]) -> str:
    """Temporary tables `up` and `del` out of staging files."""
    keys = {n: column_type(contract.columns[n].type) for n in contract.key}
    up = keys | bodies(contract) | {"_version": "BLOB"} | BODY
    gone = keys | {"_delete_version": "BLOB", "_deleted_at": "TIMESTAMPTZ"} | BODY
    return _staged("up", up, upserts) + _staged("del", gone, deletes)


def _staged(name: str, columns: dict[str, str], files: Sequence[str]) -> str:
    if not files:
        declared = ", ".join(f"{quote(n)} {t}" for n, t in columns.items())
        return f"CREATE TEMP TABLE {name} ({declared});\n"
    shown = ", ".join(f"CAST({quote(n)} AS {t}) AS {quote(n)}" for n, t in columns.items())
    listed = ", ".join(text(file) for file in files)
    return f"CREATE TEMP TABLE {name} AS SELECT {shown} FROM read_parquet([{listed}], union_by_name = true);\n"


def drop_replaced(contract: StreamContract, floor: str) -> str:
    """Staged rows of generations that a snapshot has replaced: stale, whatever the table has."""
    return f"DELETE FROM up WHERE _version < from_hex({text(floor)})"


def keep(contract: StreamContract, files: Sequence[str]) -> str:
    """Temporary table `kept` of keys that the snapshot has in refused rows."""
    if not contract.key:
        return ""
    return _staged("kept", {n: column_type(contract.columns[n].type) for n in contract.key}, files)


def bury_absent(contract: StreamContract, batch_id: str, floor: str) -> str:
    """Deletes that the snapshot tells by leaving keys out: live rows of older generations, in no refused row."""
    refused = f" AND NOT EXISTS (FROM kept k WHERE {keys_equal(contract, 'k', 't')})" if contract.key else ""
    return (
        f"UPDATE {table(contract)} t SET _delete_version = from_hex({text(floor)}), _deleted_at = $1,"
        f" _delete_batch_id = {text(batch_id)} WHERE _version < from_hex({text(floor)})"
        f" AND (_delete_version IS NULL OR _delete_version < _version){refused}"
    )


def count_stale(contract: StreamContract, again: bool) -> str:
    """Staged rows that are not newer than their register in the table; `again` when objects are merged once more."""
    target = table(contract)
    if not contract.key:
        return f"SELECT count(*) FROM up s SEMI JOIN {target} t USING (_version)" if again else "SELECT 0"
    return f"""SELECT
  (SELECT count(*) FROM up s JOIN {target} t ON {keys_equal(contract, "s", "t")} WHERE t._version >= s._version)
+ (SELECT count(*) FROM del s JOIN {target} t ON {keys_equal(contract, "s", "t")}
   WHERE t._delete_version >= s._delete_version)"""


def merge(contract: StreamContract, batch_id: str, again: bool) -> str:
    """Guarded merge of both registers: each only moves up, and a delete changes no column of the body."""
    if not contract.key:
        return _append(contract, batch_id, again)
    keys = ", ".join(quote(n) for n in contract.key)
    own = text(batch_id)
    newer = "(u._version IS NOT NULL AND (t._version IS NULL OR u._version > t._version))"
    gone = "(d._delete_version IS NOT NULL AND (t._delete_version IS NULL OR d._delete_version > t._delete_version))"
    shown = [f"k.{quote(n)}" for n in contract.key]
    shown += [_pick(newer, f"u.{quote(n)}", f"t.{quote(n)}", n) for n in bodies(contract)]
    shown += [
        _pick(newer, "u._version", "t._version", "_version"),
        _pick(gone, "d._delete_version", "t._delete_version", "_delete_version"),
        _pick(gone, "d._deleted_at", "t._deleted_at", "_deleted_at"),
        _pick(newer, own, "t._batch_id", "_batch_id"),
        _pick(gone, own, "t._delete_batch_id", "_delete_batch_id"),
    ]
    for n in BODY:  # a key known only by its delete bears the delete's origin
        shown.append(
            f"CASE WHEN {newer} THEN u.{quote(n)} WHEN t._version IS NULL AND {gone} THEN d.{quote(n)}"
            f" ELSE t.{quote(n)} END AS {quote(n)}"
        )
    columns = ", ".join(quote(n) for n in all_columns(contract))
    fresh = f"""
CREATE TEMP TABLE fresh AS
WITH touched AS (SELECT {keys} FROM up UNION SELECT {keys} FROM del)
SELECT {", ".join(shown)}
FROM touched k
LEFT JOIN up u ON {keys_equal(contract, "k", "u")}
LEFT JOIN del d ON {keys_equal(contract, "k", "d")}
LEFT JOIN {table(contract)} t ON {keys_equal(contract, "k", "t")}
WHERE {newer} OR {gone};
"""
    return (
        fresh
        + f"DELETE FROM {table(contract)} t USING fresh f WHERE {keys_equal(contract, 't', 'f')};\n"
        + f"INSERT INTO {table(contract)} ({columns}) SELECT {columns} FROM fresh;\n"
    )


def _pick(condition: str, new: str, old: str, name: str) -> str:
    return f"CASE WHEN {condition} THEN {new} ELSE {old} END AS {quote(name)}"


def _append(contract: StreamContract, batch_id: str, again: bool) -> str:
    """Rows without a key: each is inserted once, as the ledger knows each object, and the version each row of it."""
    columns = ", ".join(quote(n) for n in [*bodies(contract), "_version", *BODY])
    new = f" ANTI JOIN {table(contract)} t USING (_version)" if again else ""
    return f"INSERT INTO {table(contract)} ({columns}, _batch_id) SELECT {columns}, {text(batch_id)} FROM up{new};\n"


def count_merged(contract: StreamContract, batch_id: str) -> str:
    """Registers of the table that bear the batch."""
    own = text(batch_id)
    return (
        f"SELECT count(*) FILTER (WHERE _batch_id = {own}) + count(*) FILTER (WHERE _delete_batch_id = {own})"
        f" FROM {table(contract)}"
    )
