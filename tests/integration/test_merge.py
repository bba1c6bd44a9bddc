"""The merge through the real lake, Beam and DuckDB: correct in any order, exactly once, without losses."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import duckdb
import pytest

from beam_job.batches import Limits, close_batch, open_batch, pending
from beam_job.commit import commit_batch
from beam_job.stage import stage_batch
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.errors import HeadMoved, ObjectMissing
from millrace.lake.store import Lake
from millrace.warehouse.duckdb import merge_sql as merging_sql
from millrace.warehouse.duckdb.engine import file_of
from tests.support.merging import NOON, Merging, avro, contract, delete, parquet, upsert
from tests.support.servers import ROOT, wait_until


@pytest.fixture
def merging(lake: Lake, tmp_path: Path) -> Merging:
    return Merging(lake, tmp_path)


def open_next(merging: Merging) -> Batch:
    batch = open_batch(
        merging.lake, merging.warehouse, merging.contract, limits=Limits(max_files=100, plain_max_bytes=0), now=NOON
    )
    assert batch is not None
    return batch


def commit(merging: Merging, batch: Batch, staged: Staged | None = None) -> Balance:
    staged = staged or stage_batch(merging.lake, merging.contract, batch)
    return commit_batch(merging.lake, merging.warehouse, merging.contract, batch, staged, run_id="test", at=NOON)


def test_newest_row_wins_and_losers_are_counted(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10), upsert(2, 11), upsert(1, 12)])
    assert merging.merge() == [Balance(rows_in=3, merged=2, superseded=1, stale=0, quarantined=0)]
    assert merging.live() == {1: "v12", 2: "v11"}


def test_late_older_row_changes_nothing(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 20)])
    merging.merge()
    merging.land(rows=[upsert(1, 10), upsert(2, 10)])
    assert merging.merge() == [Balance(rows_in=2, merged=1, superseded=0, stale=1, quarantined=0)]
    assert merging.live() == {1: "v20", 2: "v10"}


def test_table_versions_are_read_for_late_rows(merging: Merging) -> None:
    with mock.patch.object(merging_sql, "is_newer", wraps=merging_sql.is_newer) as comparisons:
        for rows in ([upsert(1, 10), upsert(2, 20)], [upsert(1, 31), delete(2, 30)], [upsert(1, 25), upsert(3, 40)]):
            merging.land(rows=rows)
            merging.merge()
        merging.land(rows=[upsert(1, 41)])
        merging.merge()
    assert [bool(call.args[0]) for call in comparisons.call_args_list] == [True, True, False, True]
    assert merging.live() == {1: "v41", 3: "v40"}


def test_missing_max_version_is_read_from_table(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10), upsert(2, 20)])
    merging.merge()
    with duckdb.connect(str(file_of(merging.warehouse.url))) as db:
        db.execute("ALTER TABLE ops.head__shop__orders DROP COLUMN newest")
    merging.land(rows=[upsert(2, 15), upsert(3, 15)])
    assert [(b.merged, b.stale) for b in merging.merge()] == [(1, 1)]
    assert merging.live() == {1: "v10", 2: "v20", 3: "v15"}


@pytest.mark.parametrize("syncs", [[[delete(1, 20), upsert(1, 10)]], [[delete(1, 20)], [upsert(1, 10)]]])
def test_older_row_never_resurrects_a_deleted_key(merging: Merging, syncs: list[list[dict[str, object]]]) -> None:
    for rows in syncs:
        merging.land(rows=rows)
        merging.merge()
    assert merging.live() == {}
    merging.land(rows=[upsert(1, 30)])
    merging.merge()
    assert merging.live() == {1: "v30"}


def test_delete_keeps_columns_and_notes_its_batch(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10, amount=7)])
    merging.merge()
    merging.land(rows=[delete(1, 11)])
    merging.merge()
    ((name, amount, batch, delete_batch, deleted_at),) = merging.query(
        "SELECT name, amount, _batch_id, _delete_batch_id, _deleted_at FROM raw_shop.orders"
    )
    assert (name, amount) == ("v10", 7)
    assert batch
    assert delete_batch
    assert batch != delete_batch
    assert deleted_at is not None


def test_merged_object_is_never_merged_again(merging: Merging) -> None:
    path = merging.land(rows=[upsert(1, 10)])
    assert pending(merging.lake, merging.warehouse, merging.contract) == [path]
    merging.merge()
    assert pending(merging.lake, merging.warehouse, merging.contract) == []
    assert merging.merge() == []
    assert merging.query("SELECT count(*) FROM ops.ledger_objects") == [(1,)]


def test_crashed_batch_is_finished_first(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10)])
    before = open_next(merging)
    merging.land(rows=[upsert(1, 20)])
    assert open_next(merging) == before
    commit(merging, before)  # and the process dies before it closes the batch
    assert open_next(merging) == before
    assert [b.rows_in for b in merging.merge()] == [1, 1]
    assert merging.live() == {1: "v20"}
    kinds = merging.query("SELECT kind, count(*) FROM ops.ledger GROUP BY kind")
    assert kinds == [("merged", 2)]


def test_repeated_commit_returns_the_same_balance(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10), upsert(1, 11)])
    batch = open_next(merging)
    first = commit(merging, batch)
    assert commit(merging, batch) == first
    assert merging.query("SELECT epoch FROM ops.head__shop__orders") == [(1,)]


def test_late_committer_gets_the_closed_balance(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 1)])
    batch = open_next(merging)
    staged = stage_batch(merging.lake, merging.contract, batch)
    (staging_file,) = staged.upserts
    staging_bytes = merging.lake.read(staging_file)
    merging.lake.delete(staging_file)
    with pytest.raises(ObjectMissing, match=staging_file):
        commit(merging, batch, staged)
    merging.lake.write(staging_file, staging_bytes)
    first = commit(merging, batch, staged)
    close_batch(merging.lake, batch)
    assert commit(merging, batch, staged) == first


@pytest.mark.parametrize("key", [["id"], "position"])
def test_exactly_one_of_two_racing_commits_wins(lake: Lake, tmp_path: Path, key: object) -> None:
    merging = Merging(lake, tmp_path, contract(key=key))
    merging.land(rows=[upsert(1, 10)])
    first = open_next(merging)
    merging.lake.delete(names.open_batch_path("shop", "orders"))
    merging.land(rows=[upsert(2, 20)])
    second = open_next(merging)
    assert first.id != second.id
    results: list[object] = []

    def race(batch: Batch) -> None:
        try:
            results.append(commit(merging, batch))
        except HeadMoved as error:
            results.append(error)

    threads = [threading.Thread(target=race, args=(batch,)) for batch in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results) == ["Balance", "HeadMoved"]
    merging.merge()
    assert merging.live() == {1: "v10", 2: "v20"}
    assert merging.query("SELECT count(*) FROM raw_shop.orders") == [(2,)]


def test_overtaken_batch_is_dropped_and_remerged(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10)])
    stale = open_next(merging)
    merging.lake.delete(names.open_batch_path("shop", "orders"))
    merging.land(rows=[upsert(2, 20)])
    merging.merge()
    merging.lake.create(names.open_batch_path("shop", "orders"), stale.model_dump_json().encode())
    assert merging.merge() == []
    assert merging.lake.stat(names.open_batch_path("shop", "orders")) is None


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_avro_and_parquet_mix_in_one_batch(merging: Merging, codec: str) -> None:
    first = merging.put(avro([upsert(1, 10), upsert(2, 30)], codec), "avro", part=0)
    second = merging.put(parquet([upsert(1, 20), upsert(2, 20)], compression="zstd"), part=1)
    merging.land(first, second)
    assert merging.merge() == [Balance(rows_in=4, merged=2, superseded=2, stale=0, quarantined=0)]
    assert merging.live() == {1: "v20", 2: "v30"}


def test_keyless_stream_keeps_every_row_once(lake: Lake, tmp_path: Path) -> None:
    merging = Merging(lake, tmp_path, contract(key="position", mode="append", order=[]))
    merging.land(
        merging.put(parquet([upsert(1, 1), upsert(1, 1)]), part=0), merging.put(parquet([upsert(1, 1)]), part=1)
    )
    assert merging.merge() == [Balance(rows_in=3, merged=3, superseded=0, stale=0, quarantined=0)]
    assert merging.query("SELECT count(*), count(DISTINCT _version) FROM raw_shop.orders") == [(3, 3)]
    assert merging.merge() == []


def test_restarted_log_needs_a_new_epoch(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 1000)])
    merging.merge()
    merging.land(rows=[upsert(1, 5)])
    assert merging.merge()[0].stale == 1
    merging.land(rows=[upsert(1, 6)], epoch=1)
    assert merging.merge()[0].merged == 1
    assert merging.live() == {1: "v6"}


def test_batches_are_cut_at_the_cap_of_files(lake: Lake, tmp_path: Path) -> None:
    merging = Merging(lake, tmp_path, limits=Limits(max_files=2, plain_max_bytes=0))
    for lsn in range(5):
        merging.land(rows=[upsert(1, lsn)])
    assert [b.rows_in for b in merging.merge()] == [2, 2, 1]
    assert merging.live() == {1: "v4"}


def test_missing_object_is_named_on_download(lake: Lake, tmp_path: Path) -> None:
    lake.write("a/b", b"0123456789" * 100_000)
    lake.download("a/b", str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"0123456789" * 100_000
    with pytest.raises(ObjectMissing, match="a/gone does not exist"):
        lake.download("a/gone", str(tmp_path / "gone"))


KILLED = """
import os, signal, sys
import millrace.warehouse.duckdb.commit as target
from tests.support.merging import Merging
from millrace.lake.open import open_lake
from pathlib import Path
step = sys.argv[4]
original = getattr(target, step)
def die(*a, **k):
    result = original(*a, **k)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(target, step, die)
Merging(open_lake(sys.argv[1], sys.argv[2]), Path(sys.argv[3])).merge()
"""


@pytest.mark.parametrize("step", ["_advance_head", "_append_objects", "commit"])
def test_killed_commit_leaves_a_whole_warehouse(merging: Merging, step: str) -> None:
    merging.land(rows=[upsert(1, 10), upsert(1, 11), delete(2, 12)])
    command = [sys.executable, "-c", KILLED, merging.lake.url, merging.lake.endpoint, str(merging.folder), step]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    expected = Balance(rows_in=3, merged=2, superseded=1, stale=0, quarantined=0)
    assert merging.merge() == [expected]
    assert merging.query("SELECT count(*), sum(epoch) FROM ops.head__shop__orders") == [(1, 1)]
    assert merging.query("SELECT count(*) FROM ops.ledger WHERE kind = 'merged'") == [(1,)]
    assert merging.live() == {1: "v11"}


def test_staging_is_arrow_and_older_parquet_loads(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10), delete(2, 11), upsert(3, 12)])
    batch = open_next(merging)
    assert batch.staging == "arrow"
    staged = stage_batch(merging.lake, merging.contract, batch)
    assert {name.rsplit(".")[-1] for name in (*staged.upserts, *staged.deletes)} == {"arrow"}
    older = Batch.model_validate(batch.model_dump(exclude={"staging"}))
    staged = stage_batch(merging.lake, merging.contract, older)
    assert {name.rsplit(".")[-1] for name in (*staged.upserts, *staged.deletes)} == {"parquet"}
    assert commit(merging, older).merged == 3
    assert merging.live() == {1: "v10", 3: "v12"}


def test_closing_a_batch_leaves_nothing_behind(merging: Merging) -> None:
    merging.land(rows=[upsert(1, 10)])
    batch = open_next(merging)
    commit(merging, batch)
    assert list(merging.lake.list(names.staging_prefix(batch.id)))
    close_batch(merging.lake, batch)
    close_batch(merging.lake, batch)
    wait_until(lambda: not list(merging.lake.list("_batches/")), "the open batch is gone")
    assert not list(merging.lake.list(names.staging_prefix(batch.id)))
