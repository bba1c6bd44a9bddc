"""SQL of the BigQuery warehouse outside the merge: contracts in, names, types and statements out; pure text."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from millrace.contracts.stream import MOST_CLUSTER_COLUMNS, UNCLUSTERABLE, StreamContract
from millrace.domain import names
from millrace.domain.column_names import BIGQUERY_PREFIXES
from millrace.domain.errors import ContractError, SettingsError
from millrace.domain.ledger import Head, LedgerEntry
from millrace.domain.types import DECIMAL
from millrace.warehouse import columns
from millrace.warehouse.bigquery.ops_sql import LEDGER_LAYOUT as LEDGER_LAYOUT
from millrace.warehouse.bigquery.ops_sql import LEDGER_SCHEMA as LEDGER_SCHEMA
from millrace.warehouse.bigquery.ops_sql import OPS, OWN_COLUMN
from millrace.warehouse.bigquery.ops_sql import OPS_TABLES as OPS_TABLES

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
LEDGER_FIELDS = tuple(LedgerEntry.model_fields)
LEDGER_COLUMNS = ", ".join(f"`{name}`" for name in LEDGER_FIELDS)


@dataclass(frozen=True)
class Namespace:
    """Project and location of a warehouse, and the prefix of its datasets' names."""

    project: str
    location: str
    prefix: str = ""

    @classmethod
    def of(cls, url: str) -> "Namespace":
        """Return the namespace that `bigquery://<project>/<location>[/<prefix>]` names. Raises SettingsError."""
        match = URL.fullmatch(url)
        if not match:
            raise SettingsError(
                f"{url!r} is not a BigQuery warehouse; expected {SCHEME}<project>/<location>[/<prefix>]"
            )
        return cls(match[1], match[2], f"{match[3]}_" if match[3] else "")

    def dataset(self, schema: str) -> str:
        """Return the name of a dataset."""
        return f"{self.prefix}{schema}"

    def id(self, schema: str, table: str) -> str:
        """Return the name of a table for the API."""
        return f"{self.project}.{self.dataset(schema)}.{table}"

    def table(self, schema: str, table: str) -> str:
        """Return the name of a table for SQL."""
        return quote(self.id(schema, table))

    def raw(self, contract: StreamContract) -> str:
        """Return the table of a stream."""
        return self.table(names.raw_schema(contract.source), contract.stream)

    def head(self, contract: StreamContract) -> str:
        """Return the one-row table that serialises a stream's commits."""
        return self.table("ops", names.head_table(contract.source, contract.stream))

    def unchanged(self, contract: StreamContract) -> str:
        """Return the table of a stream's unchanged values."""
        return self.table("ops", names.unchanged_table(contract.source, contract.stream))

    def ops(self, name: str) -> str:
        """Return one of the platform's own tables."""
        return self.table("ops", name)


def split_url(url: str) -> tuple[str, str]:
    """Return project and dataset of a URL `bigquery://<project>/<dataset>`; empty names where there are none."""
    project, _, dataset = url.removeprefix(SCHEME).partition("/")
    return project, dataset


def quote(name: str) -> str:
    """Return a quoted identifier, or path of identifiers."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def text(value: str) -> str:
    """Return a text literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def column_type(declared: str) -> str:
    """Return BigQuery's type of a contract type. Raises ContractError when there is none."""
    decimal = DECIMAL.match(declared)
    if not decimal:
        return TYPES[declared]
    digits, scale = int(decimal[1]), int(decimal[2])
    if scale <= NUMERIC_SCALE and digits - scale <= NUMERIC_DIGITS:
        return f"NUMERIC({digits}, {scale})"
    if scale <= BIGNUMERIC_DIGITS and digits - scale <= BIGNUMERIC_DIGITS:
        return f"BIGNUMERIC({digits}, {scale})"
    raise ContractError(
        f"{declared}: BigQuery's decimals have at most {BIGNUMERIC_DIGITS} digits before the point and as many after it"
    )


def bare(kind: str) -> str:
    """Return a type without its digits, which a CAST does not accept."""
    return kind.partition("(")[0]


def staged_type(declared: str) -> str:
    """Return the type of a column after a load job: Parquet has JSON as text."""
    return "STRING" if declared == "json" else column_type(declared)


def contract_type(kind: str, precision: int | None, scale: int | None) -> str:
    """Return the contract type of a column, as the API describes the column."""
    if kind in ("NUMERIC", "BIGNUMERIC"):
        most = (38, 9) if kind == "NUMERIC" else (76, 38)
        return f"decimal({precision or most[0]},{(scale or 0) if precision else most[1]})"
    return CONTRACT_TYPES.get(kind) or {v: k for k, v in TYPES.items()}.get(kind, kind.lower())


def buckets(contract: StreamContract) -> int | None:
    """Return the number of partitions by a hash of the key, None without such partitions."""
    return contract.partition.hash_buckets if contract.partition else None


def bucket_of(contract: StreamContract, alias: str) -> str:
    """Return the partition number of a row, which depends on its key only."""
    parts = [f"{alias}.{quote(n)}" for n in contract.key]
    texts = [
        f"TO_HEX({part})" if contract.columns[n].type == "bytes" else f"CAST({part} AS STRING)"
        for n, part in zip(contract.key, parts, strict=True)
    ]
    joined = texts[0] if len(texts) == 1 else "CONCAT(" + ", '|', ".join(texts) + ")"
    return f"ABS(MOD(FARM_FINGERPRINT({joined}), {buckets(contract)}))"


def table_columns(contract: StreamContract) -> dict[str, str]:
    """Return the columns of the raw table with their types, including the column of hash buckets."""
    kinds = {name: column_type(kind) for name, kind in columns.all_columns(contract).items()}
    for name in kinds:
        if name.lower().startswith(BIGQUERY_PREFIXES):
            raise ContractError(
                f"{contract.id}: BigQuery keeps column names like {name!r} for itself; rename the column"
            )
    return kinds | ({BUCKET: "INT64"} if buckets(contract) else {})


def partition_by(contract: StreamContract) -> str:
    """Return the PARTITION BY clause, empty without partitions."""
    if count := buckets(contract):
        return f"PARTITION BY RANGE_BUCKET({BUCKET}, GENERATE_ARRAY(0, {count}, 1))"
    if not contract.partition or not contract.partition.column:
        return ""
    column, part = contract.partition.column, contract.partition.by.upper()
    if contract.columns[column].type == "date":
        return f"PARTITION BY {quote(column) if part == 'DAY' else f'DATE_TRUNC({quote(column)}, {part})'}"
    return f"PARTITION BY TIMESTAMP_TRUNC({quote(column)}, {part})"


def cluster_columns(contract: StreamContract) -> list[str]:
    """Return the columns that a table is clustered by: the contract's, else the key."""
    keyed = [n for n in contract.key if contract.columns[n].type not in UNCLUSTERABLE]
    return list(contract.cluster) or keyed[:MOST_CLUSTER_COLUMNS]


def cluster_by(contract: StreamContract) -> str:
    """Return the CLUSTER BY clause, empty without columns for it."""
    chosen = cluster_columns(contract)
    return f"CLUSTER BY {', '.join(quote(name) for name in chosen)}" if chosen else ""


def column_list(contract: StreamContract) -> str:
    """Return the definitions of all columns."""
    required = {*contract.key, BUCKET}
    return ", ".join(
        f"{quote(n)} {t}{' NOT NULL' if n in required else ''}" for n, t in table_columns(contract).items()
    )


def labels(contract: StreamContract) -> str:
    """Return the OPTIONS with labels that divide a bill by stream."""
    return f"OPTIONS (labels = [('source', {text(contract.source)}), ('stream', {text(contract.stream)})])"


def create_table(namespace: Namespace, contract: StreamContract) -> str:
    """Return SQL of raw table and head of a stream; one statement creates the head together with its row."""
    clauses = " ".join(c for c in (partition_by(contract), cluster_by(contract), labels(contract)) if c)
    return f"""
CREATE TABLE IF NOT EXISTS {namespace.raw(contract)} ({column_list(contract)}) {clauses};
CREATE TABLE IF NOT EXISTS {namespace.head(contract)} (epoch INT64 NOT NULL, batch_id STRING NOT NULL,
  connection_epoch INT64 NOT NULL, oldest_pending_day STRING NOT NULL, `floor` STRING NOT NULL)
AS SELECT 0 AS epoch, '' AS batch_id, 0 AS connection_epoch, '' AS oldest_pending_day, '' AS `floor`;
"""


def create_ops(namespace: Namespace) -> str:
    """Return SQL of the platform's own tables."""
    return OPS.format(**{name: namespace.ops(name) for name in OPS_TABLES})


@cache
def own_columns() -> dict[str, dict[str, str]]:
    """Return the columns of the platform's own tables, with their types."""
    statements = [statement.partition("(") for statement in OPS.split(";")]
    return {
        table: dict(OWN_COLUMN.findall(columns)) for table, (_, _, columns) in zip(OPS_TABLES, statements, strict=False)
    }


def add_own_columns(namespace: Namespace, table: str, missing: dict[str, str]) -> str:
    """Return SQL of new columns of one of the platform's own tables; they are NULL in existing rows."""
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {quote(name)} {kind}" for name, kind in missing.items())
    return f"ALTER TABLE {namespace.ops(table)} {added}"


def add_to_head(namespace: Namespace, contract: StreamContract, missing: list[str]) -> str:
    """Return SQL of new columns of a head, with values for its existing row."""
    kinds = {n: ("STRING", "''") if isinstance(Head().model_dump()[n], str) else ("INT64", "0") for n in missing}
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {quote(n)} {kind}" for n, (kind, _) in kinds.items())
    filled = ", ".join(f"{quote(n)} = COALESCE({quote(n)}, {value})" for n, (_, value) in kinds.items())
    head = namespace.head(contract)
    return f"ALTER TABLE {head} {added};\nUPDATE {head} SET {filled} WHERE TRUE"


def copy_converted(
    namespace: Namespace, contract: StreamContract, target: str, stored: dict[str, str], changed: dict[str, str]
) -> str:
    """Return SQL of a copy of a stream's table with the contract's layout and other types of some columns."""
    kinds = {n: "INT64" if n == BUCKET else column_type(changed.get(n, kind)) for n, kind in stored.items()}
    required = {*contract.key, BUCKET}
    columns = ", ".join(f"{quote(n)} {kind}{' NOT NULL' if n in required else ''}" for n, kind in kinds.items())
    shown = ", ".join(_convert(n, stored[n], changed.get(n, stored[n])) for n in kinds)
    clauses = " ".join(c for c in (partition_by(contract), cluster_by(contract), labels(contract)) if c)
    return f"CREATE OR REPLACE TABLE {target} ({columns}) {clauses} AS SELECT {shown} FROM {namespace.raw(contract)}"


def _convert(name: str, was: str, kind: str) -> str:
    if was == kind:
        return quote(name)
    texts = {"json": "TO_JSON_STRING", "bytes": "TO_HEX"}
    if kind == "string" and was in texts:
        return f"{texts[was]}({quote(name)}) AS {quote(name)}"
    return f"CAST({quote(name)} AS {bare(column_type(kind))}) AS {quote(name)}"


def add_columns(namespace: Namespace, contract: StreamContract, missing: dict[str, str]) -> str:
    """Return SQL of new columns, which are NULL in existing rows."""
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {quote(n)} {t}" for n, t in missing.items())
    return f"ALTER TABLE {namespace.raw(contract)} {added}"


def set_type(namespace: Namespace, contract: StreamContract, name: str, kind: str) -> str:
    """Return SQL of a wider type for a column."""
    return f"ALTER TABLE {namespace.raw(contract)} ALTER COLUMN {quote(name)} SET DATA TYPE {column_type(kind)}"


def create_view(namespace: Namespace, contract: StreamContract, evolved: Iterable[str] = ()) -> str:
    """Return SQL of the view of live rows; `evolved` are columns beyond the contract."""
    view = namespace.table(names.raw_schema(contract.source), names.live_view(contract.stream))
    shown = ", ".join(quote(n) for n in [*contract.columns, *evolved, "_extracted_at", "_batch_id", "_object"])
    return (
        f"CREATE OR REPLACE VIEW {view} AS SELECT {shown} FROM {namespace.raw(contract)}"
        " WHERE _version IS NOT NULL AND (_delete_version IS NULL OR _delete_version < _version)"
    )
