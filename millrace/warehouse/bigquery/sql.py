"""SQL of the BigQuery warehouse that is not the merge: names, types, tables; pure text, built from contracts."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from millrace.contracts.stream import MOST_CLUSTER_COLUMNS, UNCLUSTERABLE, StreamContract
from millrace.domain import names
from millrace.domain.errors import ContractError, SettingsError
from millrace.domain.ledger import Head, LedgerEntry
from millrace.domain.types import DECIMAL
from millrace.warehouse import columns

SCHEME = "bigquery://"
URL = re.compile(r"bigquery://([a-z][a-z0-9.:-]{1,98}[a-z0-9])/([A-Za-z][A-Za-z0-9-]*)(?:/([a-z][a-z0-9_]{0,40}))?")
BUCKET = "_bucket"
TYPES = {
    "string": "STRING",
    "int64": "INT64",
    "float64": "FLOAT64",
    "bool": "BOOL",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "json": "JSON",
    "bytes": "BYTES",
}
CONTRACT_TYPES = {"INTEGER": "int64", "FLOAT": "float64", "BOOLEAN": "bool"}  # the API's older names
NUMERIC_DIGITS, NUMERIC_SCALE, BIGNUMERIC_DIGITS = 29, 9, 38
# https://cloud.google.com/bigquery/docs/schemas#column_names
RESERVED = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_")
LEDGER_FIELDS = tuple(LedgerEntry.model_fields)
LEDGER_COLUMNS = ", ".join(f"`{name}`" for name in LEDGER_FIELDS)
OPS = """
CREATE TABLE IF NOT EXISTS {ledger} (
  kind STRING NOT NULL, batch_id STRING NOT NULL, source STRING NOT NULL, stream STRING NOT NULL,
  run_id STRING NOT NULL, `at` TIMESTAMP NOT NULL, rows_in INT64 NOT NULL, merged INT64 NOT NULL,
  superseded INT64 NOT NULL, stale INT64 NOT NULL, quarantined INT64 NOT NULL, tombstoned_by_absence INT64 NOT NULL,
  detail STRING NOT NULL, written_at TIMESTAMP NOT NULL, place INT64 NOT NULL) CLUSTER BY kind, batch_id;
CREATE TABLE IF NOT EXISTS {ledger_objects} (
  batch_id STRING NOT NULL, source STRING NOT NULL, stream STRING NOT NULL, object STRING NOT NULL,
  generation INT64 NOT NULL, job_id INT64 NOT NULL, `rows` INT64) CLUSTER BY source, stream, object;
CREATE TABLE IF NOT EXISTS {quarantine} (
  batch_id STRING NOT NULL, source STRING NOT NULL, stream STRING NOT NULL, reason STRING NOT NULL,
  object STRING NOT NULL, generation INT64 NOT NULL, `row` INT64, `rows` INT64 NOT NULL, detail STRING NOT NULL,
  attempts INT64 NOT NULL, `at` TIMESTAMP NOT NULL) CLUSTER BY source, stream;
CREATE TABLE IF NOT EXISTS {publications} (
  candidate STRING NOT NULL, mart STRING NOT NULL, place INT64 NOT NULL, step STRING NOT NULL,
  written_at TIMESTAMP NOT NULL);
CREATE TABLE IF NOT EXISTS {published} (candidate STRING NOT NULL) AS SELECT '' AS candidate;
CREATE TABLE IF NOT EXISTS {quality} (
  `at` TIMESTAMP NOT NULL, `by` STRING NOT NULL, run_id STRING NOT NULL, candidate STRING NOT NULL,
  suite STRING NOT NULL, expectation STRING NOT NULL, `column` STRING NOT NULL, severity STRING NOT NULL,
  success BOOL NOT NULL, observed STRING NOT NULL, sample ARRAY<STRING>, place INT64 NOT NULL) CLUSTER BY suite;
CREATE TABLE IF NOT EXISTS {redrives} (
  source STRING NOT NULL, stream STRING NOT NULL, object STRING NOT NULL, generation INT64 NOT NULL,
  attempt INT64 NOT NULL, manifest STRING NOT NULL, run_id STRING NOT NULL, `at` TIMESTAMP NOT NULL)
  CLUSTER BY source, stream;
"""
OWN_COLUMN = re.compile(r"`?(\w+)`? (STRING|INT64|TIMESTAMP|BOOL|ARRAY<STRING>)")
OPS_TABLES = ("ledger", "ledger_objects", "quarantine", "publications", "published", "quality", "redrives")


@dataclass(frozen=True)
class Place:
    """Where a warehouse is: project, location, and what the names of its datasets begin with."""

    project: str
    location: str
    prefix: str = ""

    @classmethod
    def of(cls, url: str) -> "Place":
        """The place that a URL `bigquery://<project>/<location>[/<prefix>]` names. Raises SettingsError."""
        match = URL.fullmatch(url)
        if not match:
            raise SettingsError(f"{url!r} is no BigQuery warehouse; write {SCHEME}<project>/<location>[/<prefix>]")
        return cls(match[1], match[2], f"{match[3]}_" if match[3] else "")

    def dataset(self, schema: str) -> str:
        """Name of a dataset."""
        return f"{self.prefix}{schema}"

    def id(self, schema: str, table: str) -> str:
        """A table's name as the API has it."""
        return f"{self.project}.{self.dataset(schema)}.{table}"

    def table(self, schema: str, table: str) -> str:
        """A table in SQL."""
        return quote(self.id(schema, table))

    def raw(self, contract: StreamContract) -> str:
        """A stream's table."""
        return self.table(names.raw_schema(contract.source), contract.stream)

    def head(self, contract: StreamContract) -> str:
        """The one-row table that serialises a stream's commits."""
        return self.table("ops", names.head_table(contract.source, contract.stream))

    def ops(self, name: str) -> str:
        """A table of the platform's own."""
        return self.table("ops", name)


def quote(name: str) -> str:
    """An identifier, or several with points between."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def text(value: str) -> str:
    """A literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def column_type(declared: str) -> str:
    """BigQuery's type of a contract type. Raises ContractError when it has none."""
    decimal = DECIMAL.match(declared)
    if not decimal:
        return TYPES[declared]
    digits, scale = int(decimal[1]), int(decimal[2])
    if scale <= NUMERIC_SCALE and digits - scale <= NUMERIC_DIGITS:
        return f"NUMERIC({digits}, {scale})"
    if scale <= BIGNUMERIC_DIGITS and digits - scale <= BIGNUMERIC_DIGITS:
        return f"BIGNUMERIC({digits}, {scale})"
    raise ContractError(
        f"{declared}: BigQuery's decimals have {BIGNUMERIC_DIGITS} digits before the point and as many after it"
    )


def bare(kind: str) -> str:
    """A type without its digits, which a CAST does not take."""
    return kind.partition("(")[0]


def staged_type(declared: str) -> str:
    """The type that a load job makes of it: Parquet brings JSON as text."""
    return "STRING" if declared == "json" else column_type(declared)


def contract_type(kind: str, precision: int | None, scale: int | None) -> str:
    """Contract type of a column as the API describes it."""
    if kind in ("NUMERIC", "BIGNUMERIC"):
        most = (38, 9) if kind == "NUMERIC" else (76, 38)
        return f"decimal({precision or most[0]},{(scale or 0) if precision else most[1]})"
    return CONTRACT_TYPES.get(kind) or {v: k for k, v in TYPES.items()}.get(kind, kind.lower())


def buckets(contract: StreamContract) -> int | None:
    """Into how many partitions a hash of the key divides the table."""
    return contract.partition.hash_buckets if contract.partition else None


def bucket_of(contract: StreamContract, alias: str) -> str:
    """The partition of a key: the same for the same key, whatever else its row has."""
    parts = [f"{alias}.{quote(n)}" for n in contract.key]
    texts = [
        f"TO_HEX({part})" if contract.columns[n].type == "bytes" else f"CAST({part} AS STRING)"
        for n, part in zip(contract.key, parts, strict=True)
    ]
    joined = texts[0] if len(texts) == 1 else "CONCAT(" + ", '|', ".join(texts) + ")"
    return f"ABS(MOD(FARM_FINGERPRINT({joined}), {buckets(contract)}))"


def table_columns(contract: StreamContract) -> dict[str, str]:
    """Columns of the raw table, with their types; a column of hash buckets where those are its partitions."""
    found = {name: column_type(kind) for name, kind in columns.all_columns(contract).items()}
    for name in found:
        if name.lower().startswith(RESERVED):
            raise ContractError(f"{contract.id}: BigQuery keeps column names like {name!r} for itself; rename it")
    return found | ({BUCKET: "INT64"} if buckets(contract) else {})


def partition_by(contract: StreamContract) -> str:
    """The PARTITION BY clause, empty when there is none."""
    if count := buckets(contract):
        return f"PARTITION BY RANGE_BUCKET({BUCKET}, GENERATE_ARRAY(0, {count}, 1))"
    if not contract.partition or not contract.partition.column:
        return ""
    column, part = contract.partition.column, contract.partition.by.upper()
    if contract.columns[column].type == "date":
        return f"PARTITION BY {quote(column) if part == 'DAY' else f'DATE_TRUNC({quote(column)}, {part})'}"
    return f"PARTITION BY TIMESTAMP_TRUNC({quote(column)}, {part})"


def cluster_by(contract: StreamContract) -> str:
    """The CLUSTER BY clause: what the contract says, else the key."""
    keyed = [n for n in contract.key if contract.columns[n].type not in UNCLUSTERABLE]
    chosen = list(contract.cluster) or keyed[:MOST_CLUSTER_COLUMNS]
    return f"CLUSTER BY {', '.join(quote(name) for name in chosen)}" if chosen else ""


def column_list(contract: StreamContract) -> str:
    """Definitions of all columns."""
    required = {*contract.key, BUCKET}
    return ", ".join(
        f"{quote(n)} {t}{' NOT NULL' if n in required else ''}" for n, t in table_columns(contract).items()
    )


def labels(contract: StreamContract) -> str:
    """OPTIONS that let a bill be divided by stream."""
    return f"OPTIONS (labels = [('source', {text(contract.source)}), ('stream', {text(contract.stream)})])"


def create_table(place: Place, contract: StreamContract) -> str:
    """Raw table and head of a stream; the head is made with its row in one statement, so that it has one."""
    clauses = " ".join(c for c in (partition_by(contract), cluster_by(contract), labels(contract)) if c)
    return f"""
CREATE TABLE IF NOT EXISTS {place.raw(contract)} ({column_list(contract)}) {clauses};
CREATE TABLE IF NOT EXISTS {place.head(contract)} (epoch INT64 NOT NULL, batch_id STRING NOT NULL,
  connection_epoch INT64 NOT NULL, oldest_pending_day STRING NOT NULL, `floor` STRING NOT NULL)
AS SELECT 0 AS epoch, '' AS batch_id, 0 AS connection_epoch, '' AS oldest_pending_day, '' AS `floor`;
"""


def create_ops(place: Place) -> str:
    """Ledger, quarantine and what else the platform keeps."""
    return OPS.format(**{name: place.ops(name) for name in OPS_TABLES})


@cache
def own_columns() -> dict[str, dict[str, str]]:
    """Columns of the platform's own tables, with their types."""
    made = [statement.partition("(") for statement in OPS.split(";")]
    return {table: dict(OWN_COLUMN.findall(columns)) for table, (_, _, columns) in zip(OPS_TABLES, made, strict=False)}


def add_own_columns(place: Place, table: str, missing: dict[str, str]) -> str:
    """New columns of one of the platform's own tables; facts that are there have none of it."""
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {quote(name)} {kind}" for name, kind in missing.items())
    return f"ALTER TABLE {place.ops(table)} {added}"


def add_to_head(place: Place, contract: StreamContract, missing: list[str]) -> str:
    """New columns of a head, which has its row already."""
    kinds = {n: ("STRING", "''") if isinstance(Head().model_dump()[n], str) else ("INT64", "0") for n in missing}
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {quote(n)} {kind}" for n, (kind, _) in kinds.items())
    filled = ", ".join(f"{quote(n)} = COALESCE({quote(n)}, {value})" for n, (_, value) in kinds.items())
    head = place.head(contract)
    return f"ALTER TABLE {head} {added};\nUPDATE {head} SET {filled} WHERE TRUE"


def copy_converted(
    place: Place, contract: StreamContract, target: str, there: dict[str, str], changed: dict[str, str]
) -> str:
    """A copy of a stream's table with the contract's layout, of which some columns have another type."""
    kinds = {n: "INT64" if n == BUCKET else column_type(changed.get(n, kind)) for n, kind in there.items()}
    required = {*contract.key, BUCKET}
    columns = ", ".join(f"{quote(n)} {kind}{' NOT NULL' if n in required else ''}" for n, kind in kinds.items())
    shown = ", ".join(_converted(n, there[n], changed.get(n, there[n])) for n in kinds)
    clauses = " ".join(c for c in (partition_by(contract), cluster_by(contract), labels(contract)) if c)
    return f"CREATE OR REPLACE TABLE {target} ({columns}) {clauses} AS SELECT {shown} FROM {place.raw(contract)}"


def _converted(name: str, was: str, kind: str) -> str:
    if was == kind:
        return quote(name)
    texts = {"json": "TO_JSON_STRING", "bytes": "TO_HEX"}
    if kind == "string" and was in texts:
        return f"{texts[was]}({quote(name)}) AS {quote(name)}"
    return f"CAST({quote(name)} AS {bare(column_type(kind))}) AS {quote(name)}"


def add_columns(place: Place, contract: StreamContract, missing: dict[str, str]) -> str:
    """New columns; rows that are there have none of it."""
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {quote(n)} {t}" for n, t in missing.items())
    return f"ALTER TABLE {place.raw(contract)} {added}"


def set_type(place: Place, contract: StreamContract, name: str, kind: str) -> str:
    """A wider type for a column."""
    return f"ALTER TABLE {place.raw(contract)} ALTER COLUMN {quote(name)} SET DATA TYPE {column_type(kind)}"


def create_view(place: Place, contract: StreamContract, learned: Iterable[str] = ()) -> str:
    """The view of live rows; `learned` are columns beyond the contract."""
    view = place.table(names.raw_schema(contract.source), names.live_view(contract.stream))
    shown = ", ".join(quote(n) for n in [*contract.columns, *learned, "_extracted_at", "_batch_id", "_object"])
    return (
        f"CREATE OR REPLACE VIEW {view} AS SELECT {shown} FROM {place.raw(contract)}"
        " WHERE _version IS NOT NULL AND (_delete_version IS NULL OR _delete_version < _version)"
    )
