"""Candidates on DuckDB: begun from what is published, refused when that has moved, kept a while."""

import os
import time
from pathlib import Path

import duckdb
import pytest

from millrace.domain.errors import Fatal, MartsMoved, SettingsError
from millrace.warehouse.duckdb.marts import Marts

DAYS = 2.0


@pytest.fixture
def marts(tmp_path: Path) -> Marts:
    return Marts(tmp_path / "warehouse.duckdb", tmp_path / "published.duckdb", DAYS, 5)


def build(marts: Marts, candidate: str, table: str, rows: int) -> None:
    """What dbt does."""
    with duckdb.connect(str(marts.candidate(candidate))) as db:
        db.execute("CREATE SCHEMA IF NOT EXISTS marts")
        db.execute(f"CREATE OR REPLACE TABLE marts.{table} AS FROM range({rows})")


@pytest.fixture
def published(marts: Marts) -> Marts:
    """Marts `a` and `b`."""
    marts.begin("first", empty=True)
    build(marts, "first", "a", 1)
    build(marts, "first", "b", 2)
    assert marts.publish("first") == {"a": 1, "b": 2}
    return marts


def test_a_candidate_begins_with_what_is_published_and_leaves_it_alone(published: Marts) -> None:
    published.begin("second", empty=False)
    build(published, "second", "a", 5)
    assert published.rows() == {"a": 1, "b": 2}
    assert published.publish("second") == published.rows() == {"a": 5, "b": 2}


def test_an_empty_candidate_takes_marts_away_that_no_model_makes_any_more(published: Marts) -> None:
    published.begin("second", empty=True)
    build(published, "second", "a", 5)
    assert published.publish("second") == {"a": 5}


def test_a_candidate_that_is_begun_again_forgets_what_was_built(published: Marts) -> None:
    published.begin("second", empty=False)
    build(published, "second", "half", 1)
    published.candidate("second").with_name("second.duckdb.wal").write_bytes(b"left by a killed process")
    published.begin("second", empty=False)
    assert published.publish("second") == {"a": 1, "b": 2}


def test_a_candidate_can_not_take_back_what_was_published_meanwhile(published: Marts) -> None:
    for candidate, rows in (("slow", 3), ("fast", 4)):
        published.begin(candidate, empty=False)
        build(published, candidate, "a", rows)
    published.publish("fast")
    with pytest.raises(MartsMoved, match=r"slow was begun from first, but fast is published now"):
        published.publish("slow")
    assert published.rows() == {"a": 4, "b": 2}


def test_publishing_again_changes_nothing_and_what_never_was_is_named(published: Marts, tmp_path: Path) -> None:
    before = (tmp_path / "published.duckdb").stat().st_ino
    assert published.publish("first") == {"a": 1, "b": 2}
    assert (tmp_path / "published.duckdb").stat().st_ino == before
    with pytest.raises(Fatal, match="third is neither a candidate nor what is published"):
        published.publish("third")


def test_a_candidate_without_a_mart_is_not_published(marts: Marts) -> None:
    marts.begin("empty", empty=True)
    with pytest.raises(Fatal, match="nothing in the schema marts"):
        marts.publish("empty")


def test_candidates_that_were_not_published_are_kept_for_days(published: Marts) -> None:
    for candidate in ("young", "old"):
        published.begin(candidate, empty=False)
    aged = time.time() - (DAYS * 24 * 3600 + 60)
    os.utime(published.candidate("old"), (aged, aged))
    published.begin("next", empty=False)
    assert published.candidate("young").exists()
    assert not published.candidate("old").exists()


def test_a_file_that_has_the_name_of_a_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"can't tell the schema marts from a file marts.duckdb"):
        Marts(tmp_path / "warehouse.duckdb", tmp_path / "marts.duckdb", DAYS, 5)
