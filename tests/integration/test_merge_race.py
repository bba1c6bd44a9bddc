"""Workers that merge one stream at the same time: no row is lost or doubled, and no balance is wrong."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from beam_job import attempts
from beam_job.batches import close_batch, open_batch
from beam_job.commit import commit_batch
from beam_job.engines import plain
from beam_job.reports import Reports
from beam_job.steps import winners
from millrace.domain.batch import Balance, Batch, Staged
from millrace.domain.errors import BalanceError, MillraceError, StagingLost
from tests.support import in_process
from tests.support.deaths import MOST_CALLS
from tests.support.histories import histories
from tests.support.in_process import InProcess, stage_plainly
from tests.support.merging import NOON, Merging, contract, delete, parquet, upsert
from tests.support.mortal import Killed
from tests.support.mutants import RACING_MUTANTS, mutated, named
from tests.support.oracle import Stream
from tests.support.oracle_streams import STREAMS
from tests.support.race import Race, run_race

RACES = int(os.environ.get("MILLRACE_RACES", "15"))
SEED = int(os.environ.get("MILLRACE_SEED", "2026"))


ROUNDS = st.tuples(st.integers(1, 2), st.sampled_from([2, 2, 3]), st.none() | st.integers(0, 2 * MOST_CALLS))


@st.composite
def races(draw: st.DrawFn, of: st.SearchStrategy[Stream]) -> Race:
    """Generate races: a few syncs land at a time, and two or three workers merge them concurrently; one may die."""
    stream = draw(of)
    syncs = draw(histories(stream))
    rounds = draw(st.lists(ROUNDS, min_size=1, max_size=4))
    return Race(
        stream, draw(st.permutations(syncs)), rounds, draw(st.sampled_from([1, 2, 100])), draw(st.integers(0, 1 << 40))
    )


def check_races(name: str, races_of_each: int, start: int = SEED) -> Counter[str]:
    """Run races of a stream, and return how often each outcome occurred."""
    results = Counter[str]()

    @seed(start)
    @settings(
        max_examples=races_of_each,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(race=races(STREAMS[name]))
    def check(race: Race) -> None:
        results.update(run_race(race) | {"races": 1})

    check()
    return results


@pytest.mark.parametrize("name", STREAMS)
def test_workers_that_merge_at_once_lose_nothing(name: str) -> None:
    results = check_races(name, -(-RACES // len(STREAMS)))
    print(f"{name}: {dict(results)}")
    assert results["races"] >= RACES // len(STREAMS)
    assert results["HeadMoved"] + results["StagingLost"] > 0 or results["races"] < 16, "no two workers ever met"


@pytest.mark.parametrize("mutant", named(RACING_MUTANTS))
def test_races_catch_a_merge_without_its(mutant: str) -> None:
    with mutated(mutant), pytest.raises((AssertionError, MillraceError, KeyError, duckdb.Error)):
        check_races(RACING_MUTANTS[mutant][1], 100, start=2026)


@pytest.fixture
def merging() -> InProcess:
    """Return three pending rows of which one is superseded, a delete, and a row without a key."""
    helper = InProcess(contract())
    helper.land(rows=[upsert(1, 10), upsert(1, 11), upsert(2, 10), delete(3, 10), upsert(None, 10)])
    return helper


BALANCE = Balance(rows_in=5, merged=3, superseded=1, stale=0, quarantined=1)


def open_next(merging: Merging) -> Batch:
    batch = open_batch(merging.lake, merging.warehouse, merging.contract, limits=merging.limits, now=NOON)
    assert batch is not None
    return batch


def staged_while(merging: InProcess, batch: Batch, act: Callable[[], object]) -> Staged:
    """Stage a batch while something happens between its last file and the reading of its reports."""
    original = attempts.read_reports

    def read_late(*arguments: Any) -> Reports:
        with mock.patch.object(attempts, "read_reports", original):
            act()
        return original(*arguments)

    with mock.patch.object(attempts, "read_reports", read_late):
        return stage_plainly(merging.lake, merging.contract, batch)


def test_second_attempt_clears_nothing(merging: InProcess) -> None:
    batch = open_next(merging)

    def begin() -> None:
        with mock.patch.object(in_process, "run_steps", side_effect=Killed), pytest.raises(Killed):
            stage_plainly(merging.lake, merging.contract, batch)

    staged = staged_while(merging, batch, begin)
    assert commit(merging, batch, staged) == BALANCE
    assert merging.live() == {1: "v11", 2: "v10"}
    assert merging.query('SELECT "rows" FROM ops.ledger_objects') == [(5,)]


def commit(merging: Merging, batch: Batch, staged: Staged) -> Balance:
    return commit_batch(merging.lake, merging.warehouse, merging.contract, batch, staged, run_id="test", at=NOON)


def test_two_attempts_at_once_commit_one_balance(merging: InProcess) -> None:
    batch, staged = open_next(merging), list[Staged]()
    staged.append(
        staged_while(merging, batch, lambda: staged.append(stage_plainly(merging.lake, merging.contract, batch)))
    )
    assert len({s.attempt for s in staged}) == 2
    assert [commit(merging, batch, s) for s in staged] == [BALANCE, BALANCE]
    assert merging.query("SELECT count(*) FROM ops.quarantine") == [(1,)]
    close_batch(merging.lake, batch)
    assert list(merging.lake.list("_staging/")) == []
    assert len(list(merging.lake.list("_quarantine/"))) == 1


@pytest.mark.parametrize("gone", ["read-", "shard-", "staged-", "upserts-", "deletes-", ""])
def test_attempt_without_all_its_files_is_lost(merging: InProcess, gone: str) -> None:
    batch = open_next(merging)

    def lose() -> None:
        files = [o.name for o in merging.lake.list("_staging/") if gone in o.name]
        for name in files if gone == "" else files[:1]:
            merging.lake.delete(name)

    with pytest.raises(StagingLost, match=rf"batch {batch.id}: \d+ reports or files of attempt \w+ are gone, "):
        staged_while(merging, batch, lose)
    assert list(merging.lake.list("_staging/")) == []
    assert merging.merge() == [BALANCE]


def test_files_without_a_report_are_not_loaded(merging: InProcess) -> None:
    batch = open_next(merging)

    def add() -> None:
        path = next(o.name for o in merging.lake.list("_staging/") if "upserts-" in o.name)
        merging.lake.write(path.replace("upserts-", "upserts-9"), merging.lake.read(path))

    assert commit(merging, batch, staged_while(merging, batch, add)) == BALANCE


@pytest.mark.parametrize("rows", [1, 3])
def test_file_with_wrong_row_count_is_quarantined(rows: int) -> None:
    merging = InProcess(contract())
    other = merging.put(parquet([upsert(1, 10), upsert(2, 10)])).model_copy(update={"rows": rows})
    merging.land(other, merging.put(parquet([upsert(3, 10)]), part=1))
    assert merging.merge() == [Balance(rows_in=rows + 1, merged=1, superseded=0, stale=0, quarantined=rows)]
    assert merging.live() == {3: "v10"}
    advice = "write the object again, then run `millrace redrive shop.orders`"
    detail = f"{other.name}: 2 rows were read, expected {rows}; {advice}"
    assert merging.query("SELECT reason, detail FROM ops.quarantine") == [("file.count", detail)]


def test_contradictory_counts_stop_the_batch(merging: InProcess) -> None:
    merging.merge()
    merging.land(rows=[upsert(5, 50), upsert(6, 50)])
    with (
        mock.patch.object(plain, "pick_winners", fewer_winners),
        pytest.raises(BalanceError, match=r"2 valid rows were read and 2 compared, 2 won and [01] were"),
    ):
        merging.merge()


def fewer_winners(*arguments: Any) -> Iterator[Any]:
    """Return one winner less than the report counts."""
    for unit, rows in winners.pick_winners(*arguments):
        yield unit, rows.slice(1)
