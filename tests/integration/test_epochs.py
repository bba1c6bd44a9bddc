"""A stream that started over: its epoch is raised from a job on, once, and its rows then outrank all before."""

import json
from datetime import timedelta
from typing import Any

import pytest

from beam_job.batches import open_batch, pending
from beam_job.raise_epoch import RaisedEpoch, raise_epoch, raised_epochs
from beam_job.redrive import redrive
from millrace.domain import names
from millrace.domain.batch import Batch
from millrace.domain.errors import EventRefused
from tests.support.engines import OnEngine
from tests.support.in_process import InProcess
from tests.support.merging import NOON, contract, parquet, upsert
from tests.support.mortal import Fate, Killed, MortalLake
from tests.support.servers import ROOT

Rows = list[dict[str, Any]]
FOLDER = ROOT / "tests" / "data" / "ingest"
LATER = NOON + timedelta(days=3)


def row(id: int, lsn: int, name: str, generation: int = 0) -> dict[str, Any]:
    return upsert(id, lsn, name) | {"_airbyte_generation_id": generation}


OLD = [row(1, 500, "old", 7), row(2, 400, "old", 7)]
NEW = [row(1, 600, "new", 1), row(3, 601, "new", 1)]
NEWER = [row(1, 700, "newer", 1)]


def stream(*syncs: Rows, **changes: Any) -> InProcess:
    """Return a stream with these syncs, of which each is merged by itself."""
    merging = InProcess(contract(**({"refresh": "retain"} | changes)))
    for rows in syncs:
        merging.land(rows=rows)
        merging.merge()
    return merging


def raised(merging: InProcess, from_job: int, connection: str = "", **places: Any) -> RaisedEpoch:
    lake, warehouse = places.get("lake", merging.lake), places.get("warehouse", merging.warehouse)
    return raise_epoch(
        lake, warehouse, merging.contract, from_job=from_job, connection=connection, run_id="r", at=LATER
    )


def rebuilt(merging: InProcess) -> dict[int, str]:
    """Return the live rows of a warehouse that is built again from the lake."""
    again = InProcess(merging.contract)
    again.lake = merging.lake
    while again.merge():
        pass
    return again.live()


@pytest.mark.parametrize("refresh", [None, "retain"])
def test_raised_epoch_lets_a_restarted_stream_win(refresh: str | None) -> None:
    merging = stream(OLD, NEW, refresh=refresh)
    assert merging.live()[1] == "old"
    assert raised(merging, 2) == RaisedEpoch(epoch=1, syncs=1, admitted=1, gone=0)
    assert [b.merged for b in merging.merge()] == [2]
    assert merging.live() == rebuilt(merging) == {1: "new", 2: "old", 3: "new"}


def test_epoch_is_raised_once_for_all_later_jobs() -> None:
    merging = stream(OLD, NEW, NEWER)
    first = raised(merging, 2)
    assert first == RaisedEpoch(epoch=1, syncs=2, admitted=2, gone=0)
    assert raised(merging, 2) == RaisedEpoch(epoch=1, syncs=0, admitted=0, gone=0)
    merging.merge()
    assert raised(merging, 2) == RaisedEpoch(epoch=1, syncs=0, admitted=0, gone=0)
    assert merging.merge() == []
    assert merging.live() == rebuilt(merging) == {1: "newer", 2: "old", 3: "new"}


EPOCHS = [  # of the jobs before, of the others, and what they become
    (-1, [0, 0], [0, 0]),
    (0, [0, 0, 0], [1, 1, 1]),
    (0, [1, 1, 2], [1, 1, 2]),
    (0, [0, 0, 1], [1, 1, 2]),
    (0, [1, 0, 1], [1, 1, 2]),
    (0, [1, 2, 0], [1, 2, 2]),
    (1, [0, 1, 2], [2, 3, 4]),
    (4, [0, 5], [5, 10]),
]


@pytest.mark.parametrize(("before", "epochs", "expected"), EPOCHS)
def test_epochs_rise_above_those_before(before: int, epochs: list[int], expected: list[int]) -> None:
    assert raised_epochs(before, epochs) == expected
    assert raised_epochs(before, expected) == expected, "a repeat raises nothing"


def test_killed_command_is_completed_by_the_next() -> None:
    def lived() -> InProcess:
        merging = stream(OLD, NEW, NEWER)
        merging.land(rows=[row(4, 800, "pending", 1)])
        return merging

    whole = Fate()
    raised(merging := lived(), 2, lake=MortalLake(merging.lake, whole))
    for call in range(0, 2 * whole.calls, 2):
        merging = lived()
        with pytest.raises(Killed):
            raised(merging, 2, lake=MortalLake(merging.lake, Fate(call)))
        if call % 3 == 0:
            merging.merge()
        raised(merging, 2)
        merging.merge()
        assert merging.live() == {1: "newer", 2: "old", 3: "new", 4: "pending"}, f"at {call}"
        assert raised(merging, 2) == RaisedEpoch(epoch=1, syncs=0, admitted=0, gone=0)


def test_open_batch_is_cut_again_with_the_epoch() -> None:
    merging = stream(OLD)
    merging.land(rows=NEW)
    before = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert before is not None
    assert raised(merging, 2) == RaisedEpoch(epoch=1, syncs=1, admitted=0, gone=0)
    merging.merge()
    assert merging.live() == {1: "new", 2: "old", 3: "new"}


@pytest.mark.parametrize("files", [1, 100])
def test_highest_epoch_counts_in_any_batch(files: int) -> None:
    merging = stream()
    merging.limits = type(merging.limits)(max_files=files)
    for rows in (NEW, OLD):
        merging.land(rows=rows)
    merging.jobs = 2
    raised(merging, 2)
    waiting = pending(merging.lake, merging.warehouse, merging.contract, full_scan=True, now=NOON)
    assert [path.rsplit("/")[-1] for path in waiting] == ["c-000000000001.json", "c-epoch-1-000000000002.json"]
    merging.merge()
    assert merging.live() == rebuilt(merging) == {1: "old", 2: "old", 3: "new"}


def test_snapshots_are_raised_whole() -> None:
    merging = InProcess(contract(mode="overwrite", order=[]))
    for generation, rows in ((7, OLD), (1, NEW)):
        merging.land(rows=rows, generation_id=generation)
        merging.merge()
    assert merging.live() == {1: "old", 2: "old"}
    raised(merging, 2)
    merging.merge()
    assert merging.live() == rebuilt(merging) == {1: "new", 3: "new"}


def test_epoch_within_a_generation_removes_nothing() -> None:
    merging = InProcess(contract())
    for rows in ([row(1, 5, "a", 3), row(2, 5, "a", 3)], [row(1, 4, "b", 3)], [row(1, 3, "c", 3)]):
        merging.land(rows=rows)
        merging.merge()
    raised(merging, 2)
    merging.merge()
    assert merging.live() == rebuilt(merging) == {1: "b", 2: "a"}


def test_gone_objects_keep_their_epoch() -> None:
    merging = stream(OLD, NEW, NEWER)
    merging.lake.delete(f"{names.sync_prefix('shop', 'orders', 3)}0.parquet")
    assert raised(merging, 2) == RaisedEpoch(epoch=1, syncs=1, admitted=1, gone=1)
    assert [b.quarantined for b in merging.merge()] == [0]
    assert merging.live()[1] == "new"


def test_repaired_object_is_raised_with_its_sync() -> None:
    merging = stream(OLD)
    broken = merging.put(b"no file")
    merging.land(broken)
    merging.merge()
    merging.lake.write(broken.name, parquet(NEW))
    assert redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=LATER).repaired == 1
    merging.merge()
    raised(merging, 2)
    merging.merge()
    assert merging.live() == rebuilt(merging) == {1: "new", 2: "old", 3: "new"}


def test_raised_object_keeps_its_epoch_when_repaired() -> None:
    merging = stream(OLD)
    broken = merging.put(b"no file")
    merging.land(broken)
    merging.merge()
    raised(merging, 2)
    merging.merge()
    merging.lake.write(broken.name, parquet(NEW))
    assert redrive(merging.lake, merging.warehouse, merging.contract, run_id="r", at=LATER).repaired == 1
    merging.merge()
    assert merging.live() == rebuilt(merging) == {1: "new", 2: "old", 3: "new"}


REFUSED = [
    (99, "", r"shop\.orders: no manifest in the lake is of job 99; `millrace lake ls _manifests/shop/orders/` lists"),
    (1, "", r"shop\.orders: 2 jobs have the id 1, of the connections c \(created .*\), new \(.*\); name one with"),
    (1, "other", r"no manifest in the lake is of job 1 of the connection other; that id has c .*, new"),
]


@pytest.mark.parametrize(("job", "connection", "message"), REFUSED)
def test_unknown_or_ambiguous_job_is_refused(job: int, connection: str, message: str) -> None:
    merging = two_airbytes()
    with pytest.raises(EventRefused, match=message):
        raised(merging, job, connection)


def two_airbytes() -> InProcess:
    """Return a stream that two connections filled, whose job ids both start with 1."""
    merging = stream(OLD)
    landed = merging.put(parquet(NEW), part=1)
    merging.land(landed, connection_id="new", job_id=1)
    merging.merge()
    return merging


def test_namesakes_of_one_connection_are_both_raised() -> None:
    merging = stream(OLD, NEW, NEWER)
    path = merging.land(merging.put(parquet([row(1, 800, "last", 1)]), part=1), job_id=3)
    manifest = merging.lake.read(path)
    merging.lake.delete(path)
    merging.lake.create(path.replace("c-000000000004", "c-160000-000000000003"), manifest)
    assert raised(merging, 2) == RaisedEpoch(epoch=1, syncs=3, admitted=2, gone=0)
    merging.merge()
    assert merging.live() == rebuilt(merging) == {1: "last", 2: "old", 3: "new"}
    with pytest.raises(EventRefused, match=r"2 jobs have the id 3, of the connections c \(.*\), c \(.*\); name one"):
        raised(merging, 3)


def test_connection_tells_two_jobs_of_one_id_apart() -> None:
    merging = two_airbytes()
    assert raised(merging, 1, "new") == RaisedEpoch(epoch=1, syncs=1, admitted=1, gone=0)
    merging.merge()
    assert merging.live() == {1: "new", 2: "old", 3: "new"}


def test_raised_epoch_wins_on_every_engine(merging: OnEngine) -> None:
    for rows in (OLD, NEW):
        merging.land(rows=rows)
        merging.merge()
    result = raise_epoch(merging.lake, merging.warehouse, merging.contract, from_job=2, run_id="r", at=LATER)
    assert result == RaisedEpoch(epoch=1, syncs=1, admitted=1, gone=0)
    assert [(b.merged, b.stale) for b in merging.merge()] == [(2, 0)]
    assert merging.live() == {1: "new", 2: "old", 3: "new"}
    assert merging.merge() == []


def test_later_job_wins_a_tie_on_every_engine(merging: OnEngine) -> None:
    noon = 1_767_268_800_000
    for name, second in (("first", 5), ("second", 0)):
        merging.land(rows=[upsert(1, 7, name) | {"_airbyte_extracted_at": noon + 1000 * second}])
        merging.merge()
    assert merging.live() == {1: "second"}


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
def test_file_of_a_lower_generation_wins_once_raised(at_once: bool) -> None:
    merging = InProcess(contract())
    for generation in (7, 1):
        merging.land(merging.put((FOLDER / f"11-generation-{generation}.parquet").read_bytes()))
        if not at_once:
            merging.merge()
            assert merging.live() == {1: "old"}
    assert raised(merging, 2).epoch == 1
    merging.merge()
    assert merging.live() == rebuilt(merging) == {1: "new"}


def test_batch_of_an_older_version_is_merged() -> None:
    merging = stream(OLD)
    merging.land(rows=[row(1, 500, "tie", 7)])
    assert open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=LATER) is not None
    path = names.open_batch_path("shop", "orders")
    older = json.loads(merging.lake.read(path))
    del older["objects"][0]["job_created_at"]
    merging.lake.write(path, json.dumps(older).encode())
    assert Batch.model_validate_json(json.dumps(older)).objects[0].job_created_at == LATER
    merging.merge()
    assert merging.live()[1] == "tie"
