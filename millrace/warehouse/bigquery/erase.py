"""Erasure in BigQuery: keys in, their number of rows out; the rows are emptied and get the highest version."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from millrace.contracts.erasure import LAST_VERSION, Erasure
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import WarehouseBusy, WarehouseRefused
from millrace.warehouse import columns
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.bigquery import unchanged_sql as values
from millrace.warehouse.bigquery.commit import CONCURRENT, TRIES
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.ledger import Ledger
from millrace.warehouse.bigquery.merge_sql import Merge, StagedTables, keys_equal
from millrace.warehouse.bigquery.sql import Namespace, quote
from millrace.warehouse.bigquery.unchanged import is_tracked


def erase(jobs: Jobs, contract: StreamContract, erasure: Erasure, at: datetime) -> int:
    """Empty the rows of keys, in one transaction with the ledger; return how many keys had a row. Again: 0.

    Raises:
        WarehouseBusy: merges of the stream aborted the transaction several times.
    """
    ledger = Ledger(jobs)
    if erasure.id in ledger.erased(contract):
        return 0
    keys = [dict(zip(contract.key, key, strict=True)) for key in erasure.keys]
    parameters = {
        "keys": keys,
        "id": erasure.id,
        "at": at,
        "last": LAST_VERSION,
        "reason": erasure.reason,
        "source": contract.source,
        "stream": contract.stream,
    }
    entries = values.erase(jobs.namespace, contract, key_rows(contract)) if is_tracked(jobs, contract) else ""
    statements = script(jobs.namespace, contract, _bounds(jobs, contract, parameters), entries)
    for _ in range(TRIES):
        try:
            jobs.query(
                f"{erasure.id}-{jobs.namespace.prefix}erase",
                statements,
                parameters,
                step="erase",
                contract=contract,
                holds=lambda _: erasure.id in ledger.erased(contract),
            )
        except WarehouseRefused as error:
            if not CONCURRENT.search(str(error)):
                raise
        if (matched := ledger.erased(contract).get(erasure.id)) is not None:
            return matched
    raise WarehouseBusy(f"{erasure.id}: {TRIES} transactions were aborted by merges of {contract.id}; try again")


def _bounds(jobs: Jobs, contract: StreamContract, parameters: Mapping[str, Any]) -> str:
    """Return the condition for partitions that can hold the keys; TRUE where partitions do not bound them."""
    if not (columns.prunes(contract) or sql.buckets(contract)):
        return "TRUE"
    merge = Merge(jobs.namespace, contract, StagedTables(upserts=f"({key_rows(contract)})"))
    keys = {"keys": parameters["keys"]}
    partitions = [row[0] for row in jobs.rows(merging.touched(merge), keys, step="erase", contract=contract)]
    return merging.within(contract, partitions)


def key_rows(contract: StreamContract) -> str:
    """Return the SELECT of keys from the parameter `keys`, whose values are passed as text."""
    shown = [f"{_value(contract.columns[n].type, f'k.{quote(n)}')} AS {quote(n)}" for n in contract.key]
    return f"SELECT {', '.join(shown)} FROM UNNEST(@keys) k"  # noqa: S608


def _value(declared: str, text: str) -> str:
    return f"FROM_HEX({text})" if declared == "bytes" else f"CAST({text} AS {sql.bare(sql.column_type(declared))})"


def script(namespace: Namespace, contract: StreamContract, where: str, entries: str = "") -> str:
    """Return the transaction that empties or inserts rows of the keys and appends the fact to the ledger.

    `entries` is the statement that deletes the entries of the keys' unchanged values, if there are any.
    """
    on = f"{keys_equal(contract, 't', 's')} AND {where}"
    raw, ledger = namespace.raw(contract), namespace.ops("ledger")
    return f"""DECLARE found INT64 DEFAULT 0;
BEGIN TRANSACTION;
SET found = (SELECT COUNT(*) FROM {raw} t JOIN ({key_rows(contract)}) s ON {on});
{empty_rows(namespace, contract, where)};
{f"{entries};" if entries else ""}
INSERT INTO {ledger} ({sql.LEDGER_COLUMNS}, written_at, place)
VALUES ('erased', @id, @source, @stream, @id, @at, ARRAY_LENGTH(@keys), found, 0, ARRAY_LENGTH(@keys) - found, 0, 0,
  @reason, CURRENT_TIMESTAMP(), 0);
INSERT INTO {namespace.ops("erased")} (batch_id, source, stream, merged) VALUES (@id, @source, @stream, found);
COMMIT TRANSACTION;
"""  # noqa: S608


def empty_rows(namespace: Namespace, contract: StreamContract, where: str) -> str:
    """Return the MERGE that leaves only the key in rows, with the highest version in both registers."""
    last, own = "FROM_HEX(@last)", "@id"
    registers = {
        "_version": last,
        "_delete_version": last,
        "_deleted_at": "@at",
        "_batch_id": own,
        "_delete_batch_id": own,
    }
    kinds = columns.payload(contract) | columns.PROVENANCE
    emptied = [f"{quote(n)} = CAST(NULL AS {sql.bare(sql.column_type(kind))})" for n, kind in kinds.items()]
    updated = ", ".join([*emptied, *(f"{n} = {value}" for n, value in registers.items())])
    keyed = [quote(n) for n in contract.key]
    bucket = {sql.BUCKET: sql.bucket_of(contract, "s")} if sql.buckets(contract) else {}
    listed = ", ".join([*keyed, *bucket, *registers])
    values = ", ".join([*(f"s.{n}" for n in keyed), *bucket.values(), *registers.values()])
    return f"""MERGE {namespace.raw(contract)} t USING ({key_rows(contract)}) s
ON {keys_equal(contract, "t", "s")} AND {where}
WHEN MATCHED THEN UPDATE SET {updated}
WHEN NOT MATCHED THEN INSERT ({listed}) VALUES ({values})"""  # noqa: S608
