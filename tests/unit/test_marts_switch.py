"""Candidates on DuckDB: begun from the published marts, rejected when those have changed, kept for some days."""

import os
import time
from pathlib import Path

import duckdb
import pytest

from millrace.domain.errors import CandidateMissing, MartsMissing, MartsMoved, SettingsError, WarehouseRefused
from millrace.warehouse.duckdb.marts import Marts

DAYS = 2.0


@pytest.fixture
def marts(tmp_path: Path) -> Marts:
    return Marts(tmp_path / "warehouse.duckdb", tmp_path / "published.duckdb", DAYS, 5)


def build(marts: Marts, candidate: str, table: str, rows: int) -> None:
    """Make a mart in a candidate, as dbt does."""
    with duckdb.connect(str(marts.candidate(candidate))) as db:
        db.execute("CREATE SCHEMA IF NOT EXISTS marts")
        db.execute(f"CREATE OR REPLACE TABLE marts.{table} AS FROM range({rows})")


@pytest.fixture
def published(marts: Marts) -> Marts:
    """Marts `a` and `b`."""
    marts.begin_candidate("first", empty=True)
    build(marts, "first", "a", 1)
    build(marts, "first", "b", 2)
    assert marts.publish("first") == {"a": 1, "b": 2}
    return marts


def test_candidate_starts_as_a_copy_of_published(published: Marts) -> None:
    published.begin_candidate("second", empty=False)
    build(published, "second", "a", 5)
    assert published.rows() == {"a": 1, "b": 2}
    assert published.publish("second") == published.rows() == {"a": 5, "b": 2}


def test_empty_candidate_drops_unmodelled_marts(published: Marts) -> None:
    published.begin_candidate("second", empty=True)
    build(published, "second", "a", 5)
    assert published.publish("second") == {"a": 5}


def test_restarted_candidate_forgets_its_build(published: Marts) -> None:
    published.begin_candidate("second", empty=False)
    build(published, "second", "half", 1)
    published.candidate("second").with_name("second.duckdb.wal").write_bytes(b"left by a killed process")
    published.begin_candidate("second", empty=False)
    assert published.publish("second") == {"a": 1, "b": 2}


def test_candidate_cannot_revert_a_publication(published: Marts) -> None:
    for candidate, rows in (("slow", 3), ("fast", 4)):
        published.begin_candidate(candidate, empty=False)
        build(published, candidate, "a", rows)
    published.publish("fast")
    with pytest.raises(MartsMoved, match=r"slow was begun from first, but fast is published now"):
        published.publish("slow")
    assert published.rows() == {"a": 4, "b": 2}


def test_publishing_twice_changes_nothing(published: Marts, tmp_path: Path) -> None:
    before = (tmp_path / "published.duckdb").stat().st_ino
    assert published.publish("first") == {"a": 1, "b": 2}
    assert (tmp_path / "published.duckdb").stat().st_ino == before
    with pytest.raises(CandidateMissing, match="third is neither a candidate nor what is published"):
        published.publish("third")


def test_candidate_without_marts_is_not_published(marts: Marts) -> None:
    marts.begin_candidate("empty", empty=True)
    with pytest.raises(MartsMissing, match="nothing in the schema marts"):
        marts.publish("empty")


def test_view_of_others_stops_what_would_break_it(published: Marts, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "published.duckdb")) as db:
        db.execute("CREATE SCHEMA bi; CREATE TABLE bi.own AS SELECT 1 AS x; CREATE VIEW bi.b AS FROM marts.b")
    published.begin_candidate("second", empty=True)
    build(published, "second", "a", 5)
    for _ in range(2):
        with pytest.raises(WarehouseRefused, match=r"has bi\.b, which no publication made, .* change or drop it"):
            published.publish("second")
    with duckdb.connect(str(tmp_path / "published.duckdb")) as db:
        db.execute("CREATE OR REPLACE VIEW bi.b AS FROM marts.a, bi.own")
    assert published.publish("second") == {"a": 5}
    with duckdb.connect(str(tmp_path / "published.duckdb"), read_only=True) as db:
        assert db.execute("SELECT count(*) FROM bi.b").fetchone() == (5,)


def test_marts_of_an_older_version_are_ours(published: Marts, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "published.duckdb")) as db:
        db.execute("DROP TABLE ops.millrace_marts")
    assert published.rows() == {"a": 1, "b": 2}
    published.begin_candidate("second", empty=True)
    build(published, "second", "a", 5)
    assert published.publish("second") == published.rows() == {"a": 5}


def test_unpublished_candidates_are_kept_for_days(published: Marts) -> None:
    for candidate in ("young", "old"):
        published.begin_candidate(candidate, empty=False)
    aged = time.time() - (DAYS * 24 * 3600 + 60)
    os.utime(published.candidate("old"), (aged, aged))
    published.begin_candidate("next", empty=False)
    assert published.candidate("young").exists()
    assert not published.candidate("old").exists()


def test_file_named_like_a_schema_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"can't tell the schema marts from a file marts.duckdb"):
        Marts(tmp_path / "warehouse.duckdb", tmp_path / "marts.duckdb", DAYS, 5)
