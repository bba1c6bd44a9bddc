"""SQL of the DuckDB warehouse outside the merge: contracts in, names, types and statements out; pure text."""

from collections.abc import Iterable

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import ContractError
from millrace.domain.ledger import LedgerEntry
from millrace.domain.types import DECIMAL
from millrace.warehouse import columns as shared

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
PROVENANCE = {name: TYPES[kind] for name, kind in shared.PROVENANCE.items()}
REGISTERS = {name: TYPES[kind] for name, kind in shared.REGISTERS.items()}
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
CREATE TABLE IF NOT EXISTS ops.erased AS SELECT batch_id, source, stream, merged FROM ops.ledger WHERE kind = 'erased';
CREATE SEQUENCE IF NOT EXISTS ops.settled_seq;
CREATE TABLE IF NOT EXISTS ops.settled (seq BIGINT DEFAULT nextval('ops.settled_seq'), before TIMESTAMPTZ NOT NULL);
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
CREATE TABLE IF NOT EXISTS ops.quality (
  "at" TIMESTAMPTZ NOT NULL, "by" VARCHAR NOT NULL, run_id VARCHAR NOT NULL, candidate VARCHAR NOT NULL,
  suite VARCHAR NOT NULL, expectation VARCHAR NOT NULL, "column" VARCHAR NOT NULL, severity VARCHAR NOT NULL,
  success BOOLEAN NOT NULL, observed VARCHAR NOT NULL, sample VARCHAR[] NOT NULL);
"""


def quote(name: str) -> str:
    """Return a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text literal."""
    return "'" + value.replace("'", "''") + "'"


def column_type(declared: str) -> str:
    """Return the DuckDB type of a contract type.

    Raises:
        ContractError: DuckDB has no decimals of that many digits, unlike BigQuery.
    """
    decimal = DECIMAL.match(declared)
    if decimal and int(decimal[1]) > DECIMAL_DIGITS:
        raise ContractError(f"{declared}: DuckDB's decimals have {DECIMAL_DIGITS} digits at most")
    return TYPES.get(declared, declared.upper())


def contract_type(stored: str) -> str:
    """Return the contract type of a DuckDB type."""
    return {v: k for k, v in TYPES.items()}.get(stored) or CONTRACT_TYPES.get(stored) or stored.lower()


def table(contract: StreamContract) -> str:
    """Return the qualified name of the raw table."""
    return f"{quote(names.raw_schema(contract.source))}.{quote(contract.stream)}"


def head_table(contract: StreamContract) -> str:
    """Return the qualified name of the one-row table that serialises commits."""
    return f"ops.{quote(names.head_table(contract.source, contract.stream))}"


def payload(contract: StreamContract) -> dict[str, str]:
    """Return the columns that an upsert replaces together, with their types; the key is not among them."""
    return {name: column_type(kind) for name, kind in shared.payload(contract).items()}


def all_columns(contract: StreamContract) -> dict[str, str]:
    """Return the columns of the raw table, with their types."""
    return {name: column_type(kind) for name, kind in shared.all_columns(contract).items()}


def create_table(contract: StreamContract, packed: Iterable[str] = ()) -> str:
    """Return SQL of schema, raw table and head of a stream; values of `packed` columns seldom repeat."""
    zstd = {"_version", *packed}  # versions never repeat
    columns = ", ".join(
        f"{quote(n)} {t}{' USING COMPRESSION zstd' if n in zstd else ''}{' NOT NULL' if n in contract.key else ''}"
        for n, t in all_columns(contract).items()
    )
    head = head_table(contract)
    return f"""
CREATE SCHEMA IF NOT EXISTS {quote(names.raw_schema(contract.source))};
CREATE TABLE IF NOT EXISTS {table(contract)} ({columns});
CREATE TABLE IF NOT EXISTS {head} (
  epoch BIGINT NOT NULL, batch_id VARCHAR NOT NULL, connection_epoch BIGINT NOT NULL,
  oldest_pending_day VARCHAR NOT NULL, floor VARCHAR NOT NULL DEFAULT '');
ALTER TABLE {head} ADD COLUMN IF NOT EXISTS floor VARCHAR DEFAULT '';
ALTER TABLE {head} ADD COLUMN IF NOT EXISTS newest BLOB;
INSERT INTO {head} (epoch, batch_id, connection_epoch, oldest_pending_day, floor)
SELECT 0, '', 0, '', '' WHERE NOT EXISTS (FROM {head});
"""


def advance_head(contract: StreamContract) -> str:
    """Return the UPDATE that moves the head from the epoch of a batch's opening; it changes no row of a moved head."""
    return (
        f"UPDATE {head_table(contract)} SET epoch = epoch + 1, batch_id = ?, connection_epoch = ?,"
        " oldest_pending_day = ?, floor = ? WHERE epoch = ?"
    )


def newest(contract: StreamContract) -> str:
    """Return the query for an upper bound of the table's versions; NULL when an older platform created the head."""
    return f"SELECT newest FROM {head_table(contract)}"


def set_newest(contract: StreamContract) -> str:
    """Return the UPDATE that stores an upper bound of the table's versions."""
    return f"UPDATE {head_table(contract)} SET newest = ?"


def count_doubled_keys(contract: StreamContract) -> str:
    """Return the query that counts keys with more than one row."""
    keys = ", ".join(quote(n) for n in contract.key)
    return f"SELECT count(*) FROM (SELECT 1 FROM {table(contract)} GROUP BY {keys} HAVING count(*) > 1)"


def create_view(contract: StreamContract, evolved: Iterable[str] = ()) -> str:
    """Return SQL of the view of live rows; `evolved` are columns beyond the contract."""
    view = f"{quote(names.raw_schema(contract.source))}.{quote(names.live_view(contract.stream))}"
    shown = ", ".join(quote(n) for n in [*contract.columns, *evolved, "_extracted_at", "_batch_id", "_object"])
    return (
        f"CREATE OR REPLACE VIEW {view} AS SELECT {shown} FROM {table(contract)}"
        " WHERE _version IS NOT NULL AND (_delete_version IS NULL OR _delete_version < _version)"
    )
