"""Contracts of every shape that changes the SQL of a stream: keys, partitions, modes and types."""

from typing import Any

from millrace.contracts.stream import StreamContract


def declared(**changes: Any) -> StreamContract:
    kinds = {
        "id": "int64",
        "region": "string",
        "day": "date",
        "at": "timestamp",
        "blob": "bytes",
        "price": "decimal(9,2)",
    }
    key = changes.get("key", ["id"])
    columns = {n: {"type": t, "nullable": n not in key} for n, t in kinds.items()}
    defaults = {
        "source": "shop",
        "stream": "orders",
        "mode": "append",
        "key": key,
        "columns": columns
        | {
            "name": {"type": "string"},
            "extra": {"type": "json"},
            "rate": {"type": "float64"},
            "big": {"type": "decimal(60,30)"},
        },
    }
    return StreamContract.model_validate(defaults | changes)


MADE_UP = {
    "one key": declared(),
    "composite key": declared(key=["id", "region", "blob", "price"]),
    "days": declared(key=["id", "day"], partition={"column": "day"}),
    "months": declared(key=["id", "day"], partition={"column": "day", "by": "month"}, cluster=["region"]),
    "instants": declared(key=["id", "at"], partition={"column": "at", "by": "year"}),
    "hash buckets": declared(key=["id", "region"], partition={"hash_buckets": 16}),
    "partition beside the key": declared(partition={"column": "day"}),
    "snapshots": declared(mode="overwrite", key=["id", "day"], partition={"column": "day", "by": "month"}),
    "no key": declared(key=[], partition={"column": "at"}),
    "changes": declared(mode="cdc", order=["_ab_cdc_lsn"], key=["id", "at"], partition={"column": "at"}),
}
