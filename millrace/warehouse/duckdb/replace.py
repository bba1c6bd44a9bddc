"""What a batch replaces in DuckDB: rows that its snapshots lack, and older rows of mended objects without a key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, Staged, newest_generations
from millrace.warehouse.duckdb import merge_sql as merging
from millrace.warehouse.duckdb.sql import table, text
from millrace.warehouse.duckdb.staging import relation

GENERATIONS = """
SELECT DISTINCT o.object, o.generation FROM ops.ledger_objects o
SEMI JOIN (SELECT unnest($1::VARCHAR[]) AS object) USING (object)
WHERE o.source = $2 AND o.stream = $3 AND NOT EXISTS (
  FROM ops.quarantine q WHERE q.batch_id = o.batch_id AND q.object = o.object AND q.generation = o.generation
  AND q."row" IS NULL)
"""


@dataclass(frozen=True)
class Replacing:
    """The condition of the staged upserts `s` that are merged, and what is deleted after they were.

    `snapshots` delete the keys that they lack, the oldest first; `mended` deletes older rows of mended objects;
    `spares` keeps a row for each key that the newest snapshot has only in quarantine. With `removes` the rows of all
    generations before the newest are deleted, as it was read to its end (cdc and append streams). `revives` is the
    floor that falls: what it deleted comes back first.
    """

    condition: str
    snapshots: tuple[str, ...] = ()
    mended: bool = False
    spares: bool = False
    removes: bool = False
    revives: str = ""


def prepare(
    db: duckdb.DuckDBPyConnection,
    contract: StreamContract,
    batch: Batch,
    staged: Staged,
    kept: Sequence[str],
    before: str,
    floor: str,
) -> Replacing:
    """Create the view `up` and the tables `kept`, `spared` and `mended`.

    Args:
        db: a connection with an open transaction, and the view `staged`.
        contract: the stream.
        batch: the batch.
        staged: its staged rows.
        kept: local copies of `staged.kept`.
        before: the floor of the head before the batch.
        floor: the floor of the head after it.
    """
    if contract.mode != "overwrite":
        return _prepare_refresh(db, contract, batch, staged, before, floor)
    replaces = bool(floor) and staged.floor == floor
    snapshots, spares = ((floor,) if replaces else ()), False
    if contract.key and floor:
        db.execute(merging.keep(contract, _relations(db, staged, kept, floor)))
        spares = _spare(db, contract, batch, staged, before, floor)
        if spares:
            snapshots = tuple(sorted(s for s in {*staged.snapshots, *snapshots} if s <= floor))
    mended = not contract.key and _mend(db, contract, batch, staged)
    condition = merging.is_merged(contract, floor, spares, mended)
    db.execute(merging.choose_merged(condition))
    return Replacing(condition, snapshots, mended, spares and floor > before)


def _prepare_refresh(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch, staged: Staged, before: str, floor: str
) -> Replacing:
    """Create the same for a cdc or append stream; only the batch that raises the floor reads the table."""
    mended = not contract.key and _mend(db, contract, batch, staged)
    above = bool(staged.lowest) and staged.lowest >= floor  # no row has to be compared
    condition = merging.is_merged(contract, "" if above else floor, spares=False, mended=mended)
    db.execute(merging.choose_merged(condition))
    snapshots = (floor,) if floor and floor != before else ()
    return Replacing(condition, snapshots, mended, removes=True, revives=staged.revives)


def _relations(db: duckdb.DuckDBPyConnection, staged: Staged, kept: Sequence[str], floor: str) -> dict[str, str]:
    """Return the relation of the kept keys of each snapshot."""
    by = staged.kept_by or (floor,) * len(kept)  # an older version of the platform kept those of one snapshot
    files: dict[str, list[str]] = {}
    for snapshot, file in zip(by, kept, strict=True):
        files.setdefault(snapshot, []).append(file)
    return {s: relation(db, f"kept_{number}", paths) for number, (s, paths) in enumerate(files.items())}


def _spare(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch, staged: Staged, before: str, floor: str
) -> bool:
    """Fill `spared`; return whether it has keys, so that older rows or snapshots can matter."""
    older = any(o.min_version < floor for o in batch.objects)
    if not (floor in staged.kept_by if floor > before else older):
        return False
    db.execute(merging.spare(contract, floor, before))
    return bool(db.execute("SELECT count(*) > 0 FROM spared").fetchone() == (True,))


def _mend(db: duckdb.DuckDBPyConnection, contract: StreamContract, batch: Batch, staged: Staged) -> bool:
    """Fill `mended` with the newest generation of objects of which an older one has rows; return if there are any."""
    values = [sorted({o.name for o in batch.objects}), contract.source, contract.stream]
    merged = [(str(name), int(generation)) for name, generation in db.execute(GENERATIONS, values).fetchall()]
    newest = newest_generations(batch, staged, merged)
    if newest:
        generations = [merging.generation_text(generation) for generation in newest.values()]
        db.execute(
            "CREATE OR REPLACE TEMP TABLE mended AS"
            " SELECT unnest($1::VARCHAR[]) AS object, unnest($2::VARCHAR[]) AS generation",
            [list(newest), generations],
        )
    return bool(newest)


def delete_replaced(
    db: duckdb.DuckDBPyConnection, contract: StreamContract, batch_id: str, replacing: Replacing, at: datetime
) -> int:
    """Delete what the batch's snapshots lack and what its mended objects had before; return the number of rows."""
    if replacing.spares:
        db.execute(merging.remember_spared(contract, max(replacing.snapshots)))
    if replacing.revives:
        db.execute(_revive_older(contract, batch_id, replacing.revives))
    delete = _delete_older if replacing.removes else merging.delete_absent
    statements = [delete(contract, batch_id, snapshot) for snapshot in replacing.snapshots]
    statements += [merging.delete_outdated(contract, batch_id)] if replacing.mended else []
    deleted = 0
    for statement in statements:
        (count,) = db.execute(statement, [at]).fetchone() or (0,)
        deleted += int(count)
    return deleted


def _delete_older(contract: StreamContract, batch_id: str, floor: str) -> str:
    """Return the UPDATE that deletes the live rows of generations before the one whose lowest version is the floor."""
    return (
        f"UPDATE {table(contract)} t SET _delete_version = from_hex({text(floor)}), _deleted_at = $1,"  # noqa: S608
        f" _delete_batch_id = {text(batch_id)} WHERE t._version < from_hex({text(floor)})"
        " AND (t._delete_version IS NULL OR t._delete_version < t._version)"
    )


def _revive_older(contract: StreamContract, batch_id: str, floor: str) -> str:
    """Return the UPDATE that takes back what the generation whose lowest version is the floor has deleted.

    A delete of the source has a longer version.
    """
    lowest = f"from_hex({text(floor)})"
    return (
        f"UPDATE {table(contract)} t SET _delete_version = NULL, _deleted_at = NULL,"  # noqa: S608
        f" _delete_batch_id = {text(batch_id)} WHERE t._version < {lowest} AND t._delete_version = {lowest}"
    )
