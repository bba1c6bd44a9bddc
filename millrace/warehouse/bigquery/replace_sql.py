"""SQL of what a batch replaces in BigQuery: keys that snapshots lack, and older rows of mended objects; pure text."""

from dataclasses import dataclass

from millrace.contracts.stream import StreamContract
from millrace.warehouse.bigquery.sql import (
    BUCKET,
    Namespace,
    bare,
    bucket_of,
    buckets,
    quote,
    staged_type,
    text,
)


@dataclass(frozen=True)
class StagedTables:
    """The staging tables of a batch, as SQL names; empty names where there is no file.

    `kept_keys` has the keys that the newest snapshot spares, and `older` those of each older snapshot of the batch.
    """

    upserts: str = ""
    deletes: str = ""
    kept_keys: str = ""
    quarantined: str = ""
    older: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Merge:
    """One merge of staged tables above a floor into a part of the target; `again` when objects are redriven.

    `before` is the floor of the head before the merge. With `spares`, rows of replaced generations are merged if the
    newest snapshot has their keys in quarantine only; then `snapshots` are all whole snapshots of the batch, the oldest
    first. `mended` are the newest generations of objects of which an older one has rows, in a stream without a key.
    Without `objects` the batch is an empty snapshot. `revives` is the floor that falls: what it deleted comes back.
    """

    namespace: Namespace
    contract: StreamContract
    staged: StagedTables
    floor: str = ""
    where: str = "TRUE"
    replaces: bool = False
    again: bool = False
    before: str = ""
    spares: bool = False
    snapshots: tuple[str, ...] = ()
    mended: tuple[tuple[str, int], ...] = ()
    objects: bool = True
    revives: str = ""


def rows(table: str, kinds: dict[str, str]) -> str:
    """Return a staging table, or a SELECT of its columns without rows."""
    if table:
        return table
    return (
        "(SELECT "
        + ", ".join(f"CAST(NULL AS {bare(staged_type(k))}) AS {quote(n)}" for n, k in kinds.items())
        + (" FROM (SELECT 1) WHERE FALSE)")
    )


def keys_equal(contract: StreamContract, left: str, right: str) -> str:
    """Return the join condition of two tables by key; keys are NOT NULL, so `=` is enough."""
    return " AND ".join(f"{left}.{quote(n)} = {right}.{quote(n)}" for n in contract.key)


def floor_bytes(floor: str) -> str:
    """Return a floor as a literal."""
    return f"FROM_HEX({text(floor)})"


def spared(merge: Merge) -> str:
    """Return a SELECT of the keys that the newest snapshot has in quarantine only, each with the lowest version that
    counts: any, for a key that the snapshot before spared too, which is older and alive in the table."""
    contract = merge.contract
    alive = (
        f"SELECT {', '.join(f't.{quote(n)}' for n in contract.key)} FROM {merge.namespace.raw(contract)} t"
        f" WHERE {is_open(merge.before)}"
    )
    if merge.floor == merge.before:
        return f"(SELECT a.*, b'' AS _lowest FROM ({alive}) a)"
    kept = ", ".join(quote(n) for n in contract.key)
    first = quote(contract.key[0])
    return (
        f"(SELECT c.*, IF(a.{first} IS NULL, {floor_bytes(merge.before)}, b'') AS _lowest"
        f" FROM (SELECT DISTINCT {kept} FROM {merge.staged.kept_keys}) c"
        f" LEFT JOIN ({alive}) a ON {keys_equal(contract, 'a', 'c')})"
    )


def remember_spared(merge: Merge) -> list[str]:
    """Return statements that keep a row without an upsert for each spared key that is not alive: an older snapshot that
    comes later may have its values."""
    contract, raw = merge.contract, merge.namespace.raw(merge.contract)
    listed = [*contract.key, *([BUCKET] if buckets(contract) else []), "_delete_version"]
    values = [f"k.{quote(n)}" for n in contract.key]
    values += [bucket_of(contract, "k")] if buckets(contract) else []
    first, same = f"t.{quote(contract.key[0])}", keys_equal(contract, "t", "k")
    kept = ", ".join(quote(n) for n in contract.key)
    return [
        f"INSERT INTO {raw} ({', '.join(quote(n) for n in listed)}) SELECT {', '.join(values)},"
        f" NULLIF(k._lowest, b'') FROM {spared(merge)} k LEFT JOIN {raw} t ON {same} WHERE {first} IS NULL",
        f"UPDATE {raw} t SET _version = NULL FROM (SELECT DISTINCT {kept} FROM {merge.staged.kept_keys}) k"
        f" WHERE {same} AND t._version < {floor_bytes(merge.floor)} AND t._delete_version > t._version",
    ]


def is_open(floor: str) -> str:
    """Return the condition for rows of the table that are older than a snapshot and not deleted."""
    lowest = floor_bytes(floor)
    return (
        f"COALESCE(t._version < {lowest}, TRUE) AND COALESCE(t._delete_version < COALESCE(t._version, {lowest}), TRUE)"
    )


def delete_older(merge: Merge) -> str:
    """Return the UPDATE that deletes the live rows of generations before the newest, which was read to its end."""
    lowest = floor_bytes(merge.floor)
    return (
        f"UPDATE {merge.namespace.raw(merge.contract)} t SET _delete_version = {lowest}, _deleted_at = @at,"
        f" _delete_batch_id = @batch_id WHERE t._version < {lowest}"
        " AND (t._delete_version IS NULL OR t._delete_version < t._version)"
    )


def revive_older(merge: Merge) -> str:
    """Return the UPDATE that takes back what the generation whose lowest version is the fallen floor has deleted.

    A delete of the source has a longer version.
    """
    lowest = floor_bytes(merge.revives)
    return (
        f"UPDATE {merge.namespace.raw(merge.contract)} t SET _delete_version = NULL, _deleted_at = NULL,"
        f" _delete_batch_id = @batch_id WHERE t._version < {lowest} AND t._delete_version = {lowest}"
    )


def mended(merge: Merge) -> str:
    """Return a SELECT of the newest generations of mended objects, as a version's hexadecimal digits contain them."""
    listed = ", ".join(
        f"STRUCT({text(name)} AS object, '{generation:016x}' AS generation)" for name, generation in merge.mended
    )
    return f"UNNEST([{listed}])"


def is_outdated(rows: str) -> str:
    """Return the condition that a row's object has a newer generation `m`; versions end with 8 bytes each of the
    generation, and of the row, with a digest of 4 bytes between them."""
    return f"m.object = {rows}._object AND SUBSTR(TO_HEX({rows}._version), -40, 16) < m.generation"


def delete_outdated(merge: Merge) -> str:
    """Return the UPDATE that deletes the rows of older generations of mended objects, in a stream without a key."""
    return (
        f"UPDATE {merge.namespace.raw(merge.contract)} t SET _delete_version = CONCAT(t._version, b'\\x00'),"
        f" _deleted_at = @at, _delete_batch_id = @batch_id FROM {mended(merge)} m"
        f" WHERE {is_outdated('t')} AND (t._delete_version IS NULL OR t._delete_version < t._version)"
    )


def merged_generations(namespace: Namespace) -> str:
    """Return the query for the generations of objects that were merged and not rejected as a whole."""
    return f"""SELECT DISTINCT o.object, o.generation FROM {namespace.ops("ledger_objects")} o
LEFT JOIN {namespace.ops("quarantine")} q ON q.batch_id = o.batch_id AND q.object = o.object
  AND q.generation = o.generation AND q.`row` IS NULL
WHERE o.source = @source AND o.stream = @stream AND o.object IN UNNEST(@names) AND q.batch_id IS NULL"""
