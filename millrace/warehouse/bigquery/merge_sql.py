"""SQL of the merge in BigQuery: a contract and staged tables in, one transaction on the stream's table out; pure text.

Upserts and deletes of a key are joined first, so that one MERGE moves both registers and the table is read once.
"""

from collections.abc import Sequence

from millrace.contracts.stream import StreamContract
from millrace.warehouse import columns
from millrace.warehouse.bigquery.bounds_sql import MOST_RANGES as MOST_RANGES
from millrace.warehouse.bigquery.bounds_sql import within as within
from millrace.warehouse.bigquery.replace_sql import Merge as Merge
from millrace.warehouse.bigquery.replace_sql import StagedTables as StagedTables
from millrace.warehouse.bigquery.replace_sql import (
    delete_older,
    delete_outdated,
    floor_bytes,
    is_open,
    is_outdated,
    mended,
    remember_spared,
    revive_older,
    rows,
    spared,
)
from millrace.warehouse.bigquery.replace_sql import keys_equal as keys_equal
from millrace.warehouse.bigquery.replace_sql import merged_generations as merged_generations
from millrace.warehouse.bigquery.sql import (
    BUCKET,
    LEDGER_COLUMNS,
    Namespace,
    bucket_of,
    buckets,
    quote,
)

MOST_PARTITIONS = 4000  # that one job may change: https://cloud.google.com/bigquery/quotas#partitioned_tables
MOVED, UNBALANCED = "millrace.head_moved", "millrace.unbalanced"
CARRIED = ("_delete_version", "_deleted_at")


def upserts(merge: Merge) -> str:
    """Return the staged upserts that are merged: not those of generations that a snapshot or a mended object replaced,
    except of keys that the newest snapshot has in quarantine only."""
    table = rows(merge.staged.upserts, columns.staged_upserts(merge.contract))
    if merge.mended:
        older = f"SELECT 1 FROM {mended(merge)} m WHERE {is_outdated('s')}"
        table = f"(SELECT * FROM {table} s WHERE NOT EXISTS ({older}))"
    if not merge.floor:
        return table
    newer = f"s._version >= {floor_bytes(merge.floor)}"
    if not merge.spares:
        return f"(SELECT * FROM {table} s WHERE {newer})"
    same = keys_equal(merge.contract, "k", "s")
    return f"(SELECT s.* FROM {table} s LEFT JOIN {spared(merge)} k ON {same} WHERE {newer} OR s._version >= k._lowest)"


def deletes(merge: Merge) -> str:
    """Return staged deletes."""
    return rows(merge.staged.deletes, columns.staged_deletes(merge.contract))


def is_bounded(contract: StreamContract) -> bool:
    """Return True if the partitions of a batch's rows are those of all rows of its keys."""
    return columns.prunes(contract) or bool(buckets(contract))


def touched(merge: Merge) -> str:
    """Return the query for distinct partitions of the batch's rows, which may include NULL.

    Where they do not bound the merge, a delete has no partition: it carries only the key.
    """
    contract = merge.contract
    partition = contract.partition
    if buckets(contract):
        value = bucket_of(contract, "s")
    else:
        name = str(partition and partition.column)
        function = "DATE_TRUNC" if contract.columns[name].type == "date" else "TIMESTAMP_TRUNC"
        value = f"{function}(s.{quote(name)}, {str(partition and partition.by).upper()})"
    sources = [upserts(merge)]
    if merge.staged.deletes and is_bounded(contract):
        sources.append(deletes(merge))
    partitions = " UNION DISTINCT ".join(f"SELECT {value} AS p FROM {source} s" for source in sources)
    return f"SELECT p FROM ({partitions}) ORDER BY p LIMIT {MOST_PARTITIONS + 1}"


def source(merge: Merge) -> str:
    """Return the SELECT of one row per staged key with its upsert and delete; provenance is the upsert's, if any."""
    contract = merge.contract
    keys = [f"COALESCE(u.{quote(n)}, d.{quote(n)}) AS {quote(n)}" for n in contract.key]
    shown = [_convert(n, kind) for n, kind in columns.payload(contract).items()]
    origin = [f"IF(u._version IS NULL, d.{quote(n)}, u.{quote(n)}) AS {quote(n)}" for n in columns.PROVENANCE]
    own = ["u._version AS _version", *(f"d.{n} AS {n}" for n in CARRIED)]
    joined = (
        f"SELECT {', '.join([*keys, *shown, *own, *origin])}"
        f" FROM {upserts(merge)} u FULL JOIN {deletes(merge)} d ON {keys_equal(contract, 'u', 'd')}"
    )
    return f"SELECT k.*, {bucket_of(contract, 'k')} AS {BUCKET} FROM ({joined}) k" if buckets(contract) else joined


def _convert(name: str, kind: str) -> str:
    value = f"u.{quote(name)}"
    return (
        f"PARSE_JSON({value}, wide_number_mode => 'round') AS {quote(name)}"
        if kind == "json"
        else (f"{value} AS {quote(name)}")
    )


NEWER_UPSERT = "s._version IS NOT NULL AND (t._version IS NULL OR t._version < s._version)"
NEWER_DELETE = "s._delete_version IS NOT NULL AND (t._delete_version IS NULL OR t._delete_version < s._delete_version)"


def merge_rows(merge: Merge) -> str:
    """Return the MERGE: versions of registers only rise; a key without an upsert gets its delete's provenance."""
    contract = merge.contract
    upserted = [*columns.payload(contract), "_version", *columns.PROVENANCE]
    set_upsert = [*(f"{quote(n)} = s.{quote(n)}" for n in upserted), "_batch_id = @batch_id"]
    set_delete = [*(f"{n} = s.{n}" for n in CARRIED), "_delete_batch_id = @batch_id"]
    set_origin = [f"{quote(n)} = s.{quote(n)}" for n in columns.PROVENANCE]
    inserted = [*contract.key, *([BUCKET] if buckets(contract) else []), *upserted, *CARRIED]
    values = [
        *(f"s.{quote(n)}" for n in inserted),
        "IF(s._version IS NULL, NULL, @batch_id)",
        "IF(s._delete_version IS NULL, NULL, @batch_id)",
    ]
    listed = ", ".join(quote(n) for n in [*inserted, "_batch_id", "_delete_batch_id"])
    return f"""MERGE {merge.namespace.raw(contract)} t
USING ({source(merge)}) s
ON {keys_equal(contract, "t", "s")} AND {merge.where}
WHEN MATCHED AND {NEWER_UPSERT} AND {NEWER_DELETE} THEN UPDATE SET {", ".join([*set_upsert, *set_delete])}
WHEN MATCHED AND {NEWER_UPSERT} THEN UPDATE SET {", ".join(set_upsert)}
WHEN MATCHED AND {NEWER_DELETE} AND t._version IS NULL THEN UPDATE SET {", ".join([*set_origin, *set_delete])}
WHEN MATCHED AND {NEWER_DELETE} THEN UPDATE SET {", ".join(set_delete)}
WHEN NOT MATCHED THEN INSERT ({listed}) VALUES ({", ".join(values)})"""


def append(merge: Merge) -> str:
    """Return the INSERT of rows without a key, each once: the ledger lists objects, and versions identify rows."""
    contract = merge.contract
    names = [*columns.payload(contract), "_version", *columns.PROVENANCE]
    kinds = columns.payload(contract)
    shown = [_convert(n, kinds.get(n, "")) if n in kinds else f"u.{quote(n)}" for n in names]
    same = f"SELECT 1 FROM {merge.namespace.raw(contract)} t WHERE t._version = u._version"
    new = f" WHERE NOT EXISTS ({same})" if merge.again else ""
    return (
        f"INSERT INTO {merge.namespace.raw(contract)} ({', '.join(quote(n) for n in [*names, '_batch_id'])})\n"
        f"SELECT {', '.join(shown)}, @batch_id FROM {upserts(merge)} u{new}"
    )


def count_stale(merge: Merge) -> list[str]:
    """Return queries that count staged registers which are not newer than the table's, or which a snapshot replaced."""
    contract, raw = merge.contract, merge.namespace.raw(merge.contract)
    counts = []
    if merge.staged.upserts and (merge.spares or merge.mended):
        counts.append(f"SELECT (SELECT COUNT(*) FROM {merge.staged.upserts}) - (SELECT COUNT(*) FROM {upserts(merge)})")
    elif merge.floor and merge.staged.upserts:
        counts.append(f"SELECT COUNT(*) FROM {merge.staged.upserts} WHERE NOT _version >= {floor_bytes(merge.floor)}")
    if contract.key:
        for own, table in (("_version", upserts(merge)), ("_delete_version", deletes(merge))):
            counts.append(
                f"SELECT COUNT(*) FROM {table} s JOIN {raw} t ON {keys_equal(contract, 't', 's')} AND {merge.where}"
                f" WHERE NOT COALESCE(t.{own} < s.{own}, TRUE)"
            )
    elif merge.again:
        same = f"SELECT 1 FROM {raw} t WHERE t._version = u._version"
        counts.append(f"SELECT COUNT(*) FROM {upserts(merge)} u WHERE EXISTS ({same})")
    return counts


def count_merged(merge: Merge) -> str:
    """Return the query that counts registers which the batch wrote."""
    return (
        "SELECT COUNTIF(_batch_id = @batch_id) + COUNTIF(_delete_batch_id = @batch_id)"
        f" FROM {merge.namespace.raw(merge.contract)} t WHERE {merge.where}"
    )


def delete_absent(merge: Merge, snapshot: str = "") -> str:
    """Return the UPDATE that deletes live rows of older generations which a snapshot neither has nor quarantined.

    The snapshot is the newest, unless another one is given.
    """
    contract, floor = merge.contract, floor_bytes(snapshot or merge.floor)
    newest = snapshot in ("", merge.floor)
    kept = merge.staged.kept_keys if newest else dict(merge.staged.older).get(snapshot, "")
    kept_keys = rows(kept, columns.keys(contract))
    unkept = (
        f" AND NOT EXISTS (SELECT 1 FROM {kept_keys} k WHERE {keys_equal(contract, 'k', 't')})" if contract.key else ""
    )
    return (
        f"UPDATE {merge.namespace.raw(contract)} t SET _delete_version = {floor}, _deleted_at = @at,"
        f" _delete_batch_id = @batch_id WHERE {is_open(snapshot or merge.floor)}{unkept}"
    )


def deletions(merge: Merge) -> list[str]:
    """Return the UPDATEs that delete what snapshots lack, the oldest first, and what mended objects had before."""
    outdated = [delete_outdated(merge)] if merge.mended else []
    if merge.spares:
        return [delete_absent(merge, snapshot) for snapshot in merge.snapshots] + outdated
    delete = delete_absent if merge.contract.mode == "overwrite" else delete_older
    return [delete(merge)] * merge.replaces + outdated


def revivals(merge: Merge) -> list[str]:
    """Return the statements that keep or take back rows of older generations before others are deleted."""
    remembered = remember_spared(merge) if merge.spares and merge.floor > merge.before else []
    return [*remembered, *([revive_older(merge)] if merge.revives else [])]


def advance_head(merge: Merge) -> str:
    """Return the UPDATE that moves the head from the epoch of a batch's opening; it changes no row of a moved head."""
    return (
        f"UPDATE {merge.namespace.head(merge.contract)} SET epoch = epoch + 1, batch_id = @batch_id,"
        " connection_epoch = @connection_epoch, oldest_pending_day = @oldest_pending_day, `floor` = @floor"
        " WHERE epoch = @seen"
    )


def script(merge: Merge, before: Sequence[str] = (), after: Sequence[str] = ()) -> str:
    """Return the transaction of head, merge, balance, ledger and quarantine; an error rolls it back.

    Further statements `before` the count of stale rows, and `after` the merge, set the variables `lost`, the number of
    staged upserts that are not the newest of their keys, and `filled`, the number of stale ones that count as merged.
    """
    namespace, contract = merge.namespace, merge.contract
    stale = " + ".join(f"({query})" for query in count_stale(merge)) or "0"
    deletion = "".join(f"{statement};\n" for statement in revivals(merge))
    deletion += "".join(f"{statement};\nSET absent = absent + @@row_count;\n" for statement in deletions(merge))
    first, then = ("".join(f"{statement};\n" for statement in part) for part in (before, after))
    quarantine = f"{insert_quarantine(merge)};\n" if merge.staged.quarantined else ""
    return f"""DECLARE stale, merged, absent, lost, found, filled INT64 DEFAULT 0;
BEGIN TRANSACTION;
{advance_head(merge)};
IF @@row_count != 1 THEN RAISE USING MESSAGE = '{MOVED}'; END IF;
{first}SET stale = {stale} - filled;
{merge_rows(merge) if contract.key else append(merge)};
{then}SET merged = ({count_merged(merge)});
{deletion}IF @rows_in != merged + @superseded + lost + stale + @quarantined THEN
  RAISE USING MESSAGE = FORMAT('{UNBALANCED} merged=%d stale=%d absent=%d lost=%d', merged, stale, absent, lost);
END IF;
INSERT INTO {namespace.ops("ledger")} ({LEDGER_COLUMNS}, written_at, place)
VALUES ('merged', @batch_id, @source, @stream, @run_id, @at, @rows_in, merged, @superseded + lost, stale, @quarantined,
  absent, '', CURRENT_TIMESTAMP(), 0);
{insert_objects(merge) if merge.objects else ""}{quarantine}COMMIT TRANSACTION;
"""


def insert_objects(merge: Merge) -> str:
    """Return the INSERT of the batch's objects into the ledger."""
    return (
        f"INSERT INTO {merge.namespace.ops('ledger_objects')} (batch_id, source, stream, object, generation, job_id,"
        " `rows`, merged_at)\nSELECT @batch_id, @source, @stream, o.object, o.generation, o.job_id, o.`rows`, @at"
        " FROM UNNEST(@objects) o;\n"
    )


def insert_quarantine(merge: Merge) -> str:
    """Return the INSERT of the batch's quarantined rows and files."""
    fields = "reason, object, generation, `row`, `rows`, detail, attempts"
    return (
        f"INSERT INTO {merge.namespace.ops('quarantine')} (batch_id, source, stream, {fields}, `at`)\n"
        f"SELECT @batch_id, @source, @stream, {fields}, @at FROM {merge.staged.quarantined}"
    )


def count_doubled_keys(namespace: Namespace, contract: StreamContract) -> str:
    """Return the query that counts keys with more than one row; correct partitions prevent any."""
    keys = ", ".join(quote(n) for n in contract.key)
    return f"SELECT COUNT(*) FROM (SELECT 1 FROM {namespace.raw(contract)} GROUP BY {keys} HAVING COUNT(*) > 1)"
