"""A lake and a warehouse that the version before 0.1.0 left: this version merges, erases and publishes them on.

`tests/data/state-before-0.1.0.tar.xz` holds them: three syncs of `shop.orders`, of which one is an open batch that is
staged in the older layout, a fourth sync that is pending, a quarantined row, an erased key, and published marts.
"""

import tarfile
from pathlib import Path

import duckdb
import pytest

from beam_job.batches import Limits, close_batch, open_batch, pending
from beam_job.commit import commit_batch
from beam_job.redrive import redrive
from millrace.domain.batch import Balance, Staged
from tests.support.in_process import MemoryLake
from tests.support.merging import NOON, Merging, upsert
from tests.support.servers import ROOT

ARCHIVE = ROOT / "tests" / "data" / "state-before-0.1.0.tar.xz"


@pytest.fixture
def merging(tmp_path: Path) -> Merging:
    lake = MemoryLake()
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            reader = archive.extractfile(member)
            assert reader
            kind, _, path = member.name.partition("/")
            if kind == "lake":
                generation, _, name = path.partition("/")
                lake.restore(name, int(generation), reader.read())
            else:
                (tmp_path / kind).write_bytes(reader.read())
    state = Merging(lake, tmp_path, limits=Limits())
    state.jobs = 4
    return state


def test_older_state_is_merged_on(merging: Merging) -> None:
    assert len(pending(merging.lake, merging.warehouse, merging.contract)) == 2
    assert merging.merge() == [
        Balance(rows_in=2, merged=2, superseded=0, stale=0, quarantined=0),
        Balance(rows_in=1, merged=1, superseded=0, stale=0, quarantined=0),
    ]
    merging.land(rows=[upsert(2, 15), upsert(3, 90), upsert(6, 50)])
    assert [(b.merged, b.stale) for b in merging.merge()] == [(2, 1)]  # 2 keeps its delete, 3 stays erased
    assert merging.live() == {1: "v30", 4: "v30", 5: "v40", 6: "v50"}
    assert merging.query("SELECT name FROM raw_shop.orders WHERE id = 3") == [(None,)]
    assert list(merging.lake.list("_staging/")) == list(merging.lake.list("_batches/")) == []


def test_older_staged_batch_is_committed(merging: Merging) -> None:
    batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert batch
    staged = Staged.model_validate_json((merging.folder / "staged.json").read_text())
    balance = commit_batch(merging.lake, merging.warehouse, merging.contract, batch, staged, run_id="test", at=NOON)
    assert balance == Balance(rows_in=2, merged=2, superseded=0, stale=0, quarantined=0)
    close_batch(merging.lake, batch)
    assert list(merging.lake.list("_staging/")) == []


def test_older_quarantined_rows_are_redriven(merging: Merging) -> None:
    admitted = redrive(merging.lake, merging.warehouse, merging.contract, max_attempts=5, run_id="test", at=NOON)
    assert admitted.admitted == 1
    assert [b.quarantined for b in merging.merge()] == [0, 1]


def test_older_marts_are_read_and_replaced(merging: Merging) -> None:
    warehouse = merging.warehouse
    assert warehouse.marts() == {"orders": 1}
    merging.merge()
    warehouse.begin_candidate("c2", empty=False)
    with duckdb.connect(warehouse.dbt_environment("c2")["MILLRACE_CANDIDATE_PATH"]) as db:
        db.execute("INSERT INTO marts.orders VALUES (2, 'new')")
    assert warehouse.publish("c2") == {"orders": 2}
