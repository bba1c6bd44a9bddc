"""The benchmark of the merge on a few thousand rows: all peers produce one table, and a wrong table is detected."""

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from bench.merge.check import Table, TablesDiffer, digest, require_equal, require_rows
from bench.merge.peers import OURS, RAW, RUNNERS
from bench.merge.run import run_once, run_scenario
from bench.merge.scenarios import Scenario
from bench.merge.table import BY_DAY
from bench.merge.targets import PeerFailed
from bench.merge.workload import Batch

TINY = Scenario("tiny", Batch(3000, 2000, 3, late=0.1), (OURS, RAW))
PEERS = {name: RUNNERS[name] for name in TINY.peers}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def tables(cache: Path) -> dict[str, Table]:
    """Return the table that each peer makes of the same batch."""
    return {name: run_once(cache, TINY, runner, cache / "kept" / name)[1] for name, runner in PEERS.items()}


def falsify(table: Table, tmp_path: Path, statement: str) -> Table:
    """Return a copy of a table after a statement has changed it."""
    copy = Table(tmp_path / "copy.duckdb", table.relation)
    copy.database.write_bytes(table.database.read_bytes())
    with duckdb.connect(str(copy.database)) as db:
        changed = db.execute(statement.format(table.relation)).fetchone()
    assert changed
    assert changed[0] > 0
    return copy


@pytest.mark.long
def test_peers_produce_the_same_table(cache: Path) -> None:
    runs = run_scenario(cache, TINY, PEERS, repeat=2)
    assert {name: len(peer_runs) for name, peer_runs in runs.items()} == {OURS: 2, RAW: 2}
    for run in (run for peer_runs in runs.values() for run in peer_runs):
        assert 0 < run.cpu_s < run.process_cpu_s
        assert 0 < run.wall_s < run.process_wall_s
        assert 50e6 < run.peak_bytes < 4e9
    assert not (cache / "run").exists()


@pytest.mark.long
def test_peers_agree_on_avro_and_composite_keys(cache: Path) -> None:
    batch = Batch(3000, 2000, 2, "avro", "recent", late=0.1)
    assert run_scenario(cache, Scenario("tiny-avro", batch, TINY.peers, BY_DAY), PEERS, repeat=1)


@pytest.mark.slow
def test_table_has_all_keys_and_late_rows_lost(tables: dict[str, Table]) -> None:
    require_rows("ours", tables[OURS], TINY.batch.rows_after)
    require_equal("ours", tables[OURS], "raw", tables[RAW])
    with duckdb.connect(str(tables[RAW].database), read_only=True) as db:
        late = db.execute(f"SELECT count(*) FROM {tables[RAW].relation} WHERE position < {1 << 40} AND id < 2000")
        assert late.fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {0} SET amount = amount + 0.01 WHERE id = (SELECT min(id) FROM {0} WHERE amount IS NOT NULL)",
        "UPDATE {0} SET note = '' WHERE id = (SELECT min(id) FROM {0} WHERE note IS NULL)",
        "UPDATE {0} SET customer = email, email = customer WHERE id = 7",
        "DELETE FROM {0} WHERE id = 7",
        "INSERT INTO {0} FROM {0} WHERE id = 7",
        "UPDATE {0} SET id = 1000000 WHERE id = 7",
    ],
    ids=["one amount", "empty for null", "two columns swapped", "a row less", "a row twice", "another key"],
)
def test_falsified_table_is_detected(tables: dict[str, Table], tmp_path: Path, statement: str) -> None:
    false = falsify(tables[RAW], tmp_path, statement)
    with pytest.raises(TablesDiffer, match=r"raw ended with [\d,]+ rows, ours with [\d,]+;.* only in .*: \(\d+, ") as e:
        require_equal("raw", false, "ours", tables[OURS])
    assert digest(false) != digest(tables[RAW])
    assert str(e.value).count("nothing") <= 1


@pytest.mark.slow
def test_table_with_wrong_keys_is_detected(tables: dict[str, Table], tmp_path: Path) -> None:
    with pytest.raises(TablesDiffer, match="rows; table and batch have"):
        require_rows("raw", falsify(tables[RAW], tmp_path, "DELETE FROM {0} WHERE id = 7"), TINY.batch.rows_after)


@pytest.mark.slow
def test_failed_peer_is_reported_with_its_output(cache: Path) -> None:
    broken = {RAW: replace(RUNNERS[RAW], module="bench.merge.none")}
    with pytest.raises(PeerFailed, match=r"No module named 'bench\.merge\.none'"):
        run_scenario(cache, TINY, broken, repeat=1)
