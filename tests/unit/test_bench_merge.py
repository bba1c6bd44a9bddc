"""The benchmark of the merge: its workload, its lake, and the scenarios that are chosen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.merge import environment, peers
from bench.merge.__main__ import chosen, parse
from bench.merge.environment import NotInstalled, make
from bench.merge.files import data_files
from bench.merge.folder_lake import FolderLake, open_lake
from bench.merge.landing import contract, lake_in, land
from bench.merge.peers import DLT, RAW
from bench.merge.scenarios import SCENARIOS, choose
from bench.merge.table import BY_DAY, BY_ID, COLUMNS
from bench.merge.workload import OLD, Batch, Target
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import ObjectExists, ObjectMissing
from millrace.domain.landing import LandingManifest


def rows(workload: Target | Batch) -> pa.Table:
    return pa.concat_tables(part for parts in workload.make_files() for part in parts)


def column(table: pa.Table, name: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.asarray(table.column(name).to_numpy())


@pytest.mark.parametrize("workload", [Target(3000), Batch(2000, 3000, 3), Batch(2000, 3000, 3, keys="hot", late=0.5)])
def test_same_parameters_make_the_same_rows(workload: Target | Batch) -> None:
    assert rows(workload).equals(rows(workload))
    assert not rows(workload).equals(rows(replace(workload, rows=workload.rows + 1)))


def test_rows_have_12_columns_in_about_245_bytes() -> None:
    table = rows(Target(20_000))
    own = [name for name in table.column_names if name.startswith("_airbyte_")]
    assert own == ["_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_generation_id", "_airbyte_meta"]
    assert [name for name in table.column_names if name not in own] == list(COLUMNS)
    assert len(COLUMNS) == 12
    assert 235 < table.nbytes / table.num_rows < 255


def test_batch_repeats_keys_as_configured() -> None:
    batch = Batch(10_000, 20_000, 7)
    table = rows(batch)
    ids = column(table, "id")
    assert table.num_rows == 10_000
    assert len(np.unique(ids)) == batch.distinct == 8000
    assert (np.unique(ids) < 20_000).sum() == batch.known == 4000
    assert batch.rows_after == 24_000
    assert len(np.unique(column(table, "position"))) == 10_000
    assert column(table, "position").min() > column(rows(Target(20_000)), "position").max()
    assert [sum(part.num_rows for part in parts) for parts in batch.make_files()] == [
        1428,
        1429,
        1428,
        1429,
        1428,
        1429,
        1429,
    ]


def test_keys_beyond_the_table_are_new() -> None:
    batch = Batch(10_000, 1000)
    assert (batch.known, batch.rows_after) == (1000, 8000)
    assert len(np.unique(column(rows(batch), "id"))) == batch.distinct


def test_late_rows_are_older_than_the_table() -> None:
    positions = column(rows(Batch(10_000, 1000, late=0.25)), "position")
    assert 2300 < (positions < OLD).sum() < 2700
    assert len(np.unique(positions)) == 10_000


def test_hot_key_is_in_every_row() -> None:
    batch = Batch(500, 1000, keys="hot")
    assert set(column(rows(batch), "id")) == {999}
    assert batch.rows_after == 1000


def test_recent_batch_touches_five_days() -> None:
    for target in (200_000, 2_000_000):
        table = rows(Batch(20_000, target, keys="recent"))
        assert len(table.column("day").unique()) == 5


def test_key_has_one_day_in_table_and_batch() -> None:
    target, batch = rows(Target(30_000)), rows(Batch(5000, 30_000, keys="recent"))
    days = dict(zip(target.column("id").to_pylist(), target.column("day").to_pylist(), strict=True))
    pairs = {*zip(batch.column("id").to_pylist(), batch.column("day").to_pylist(), strict=True)}
    assert len(pairs) == len({id for id, _ in pairs})
    assert all(days.get(id, day) == day for id, day in pairs)


def test_data_files_are_written_once(tmp_path: Path) -> None:
    batch = Batch(1000, 1000, 4)
    files = data_files(tmp_path, batch)
    times = [path.stat().st_mtime_ns for path in files]
    assert [path.stat().st_mtime_ns for path in data_files(tmp_path, batch)] == times
    assert pa.concat_tables(pq.read_table(path) for path in files).equals(rows(batch))
    assert data_files(tmp_path, replace(batch, late=0.1)) != files


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    return FolderLake(f"file://{tmp_path / 'lake'}")


def test_write_replaces_the_older_generation(lake: FolderLake) -> None:
    generations = [lake.write("a/b", str(number).encode()) for number in range(50)]
    assert generations == sorted(set(generations))
    assert lake.read("a/b") == lake.read("a/b", generations[-1]) == b"49"
    with pytest.raises(ObjectMissing, match=f"a/b#{generations[0]} does not exist"):
        lake.read("a/b", generations[0])
    info = lake.stat("a/b")
    assert info
    assert (info.generation, info.size) == (generations[-1], 2)


def test_object_is_created_once(lake: FolderLake) -> None:
    generation = lake.create("a", b"1")
    with pytest.raises(ObjectExists, match="a exists already"):
        lake.create("a", b"2")
    assert lake.read("a", generation) == b"1"
    assert lake.write("a", b"3") > generation
    lake.delete("a")
    assert lake.create("a", b"4") > generation


def test_objects_are_listed_by_name_from_a_start(lake: FolderLake) -> None:
    for name in ("p/b/1", "p/a-1", "p/a/2", "p/a", "p0", "q/1", "p/b/10", "p/b/2"):
        if name != "p/a":  # a folder can't also be a file
            lake.write(name, b"")
    assert [o.name for o in lake.list("p/")] == ["p/a-1", "p/a/2", "p/b/1", "p/b/10", "p/b/2"]
    assert [o.name for o in lake.list("p/b/1")] == ["p/b/1", "p/b/10"]
    assert [o.name for o in lake.list("p", start="p/b/10")] == ["p/b/10", "p/b/2", "p0"]
    assert [o.name for o in lake.list("")][-1] == "q/1"
    assert list(lake.list("none/")) == []


def test_unfinished_upload_is_no_object(lake: FolderLake, tmp_path: Path) -> None:
    lake.write("a", b"1")
    leftovers = tmp_path / "lake" / ".unfinished"
    assert list(leftovers.iterdir()) == []
    (leftovers / "killed").write_bytes(b"half")
    assert [o.name for o in lake.list("")] == ["a"]


def test_only_the_named_generation_is_deleted(lake: FolderLake) -> None:
    old, new = lake.write("a", b"1"), lake.write("a", b"2")
    lake.delete("a", old)
    assert lake.read("a") == b"2"
    lake.delete("a", new)
    lake.delete("a")
    assert lake.stat("a") is None
    with pytest.raises(ObjectMissing, match="a does not exist"):
        lake.open("a")


def test_uploaded_file_is_read_in_ranges(lake: FolderLake, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    generation = lake.upload("a/file", str(tmp_path / "file"))
    with lake.open("a/file", generation) as file:
        file.seek(90)
        assert file.read(5) == bytes(range(90, 95))
    assert (tmp_path / "file").exists()


def test_lake_is_opened_again_by_its_address(lake: FolderLake) -> None:
    lake.write("a", b"1")
    assert open_lake(lake.url, lake.endpoint).read("a") == b"1"


def test_sync_lands_as_links_with_a_manifest(tmp_path: Path) -> None:
    files = data_files(tmp_path / "data", Batch(900, 1000, 3))
    landed = land(tmp_path, files, 7)
    assert [path.samefile(file) for path, file in zip(landed, files, strict=True)] == [True] * 3
    lake = lake_in(tmp_path)
    (path,) = (o.name for o in lake.list(names.manifests_prefix("bench", "rows")))
    manifest = LandingManifest.model_validate_json(lake.read(path))
    assert (manifest.job_id, manifest.rows) == (7, 900)
    assert {o.name: o.generation for o in manifest.objects} == {o.name: o.generation for o in lake.list("raw/")}


def test_contract_matches_table_and_partitions() -> None:
    by_id, by_day = contract(BY_ID), contract(BY_DAY)
    assert list(by_id.columns) == list(COLUMNS)
    assert by_id.partition is None
    assert by_day == StreamContract.model_validate_json(by_day.model_dump_json())
    assert by_day.partition
    assert (by_day.key, by_day.partition.column) == (("day", "id"), "day")


def test_unmatched_scenario_pattern_is_rejected() -> None:
    assert [s.name for s in choose(["*-into-10M"])] == [
        "100k-into-10M",
        "1M-into-10M",
        "10M-into-10M",
        "recent-into-10M",
    ]
    with pytest.raises(ValueError, match="no scenario is called 'nope'; there are 100k-into-1M"):
        choose(["avro", "nope"])


def test_quick_scenarios_run_only_when_asked_for() -> None:
    usual, quick = ({s.name for s in chosen(parse(arguments))} for arguments in ([], ["--quick"]))
    assert usual | quick == {s.name for s in SCENARIOS}
    assert usual & quick == set()
    assert all(s.batch.rows <= 100_000 and s.batch.target <= 100_000 for s in SCENARIOS if s.name in quick)


def test_dlt_scenarios_have_no_late_rows() -> None:
    assert [s.name for s in SCENARIOS if DLT in s.peers and s.batch.late] == []


def test_uninstallable_dlt_is_skipped_with_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "DLT", "0.0.1.dev7")  # there is none
    with pytest.raises(NotInstalled, match=r"uv pip install failed with \d: .*dlt"):
        make(tmp_path / "dlt")
    assert list(peers.find_runners(tmp_path, [RAW, DLT])) == [RAW]
    assert capsys.readouterr().out.startswith("skipped dlt: uv pip install failed with ")
