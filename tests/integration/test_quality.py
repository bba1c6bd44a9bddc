"""The quality gate: the real Great Expectations on a small DuckDB file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from millrace.domain.errors import ContractError, Fatal
from millrace.quality.gate import validate
from millrace.quality.report import QualityReport
from millrace.quality.suites import load_suites
from tests.support.servers import ROOT

Gate = Callable[..., QualityReport]

UNIQUE = {"type": "expect_column_values_to_be_unique", "args": {"column": "id"}}
NAMED = {"type": "expect_column_values_to_not_be_null", "args": {"column": "name"}}
SMALL = {"type": "expect_table_row_count_to_be_between", "args": {"max_value": 2}}
ROWS = {"type": "expect_table_row_count_to_be_between", "args": {"min_value": 1}}


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A file with one mart `shops`: three rows, a doubled id and a missing name."""
    file = tmp_path / "candidate.duckdb"
    with duckdb.connect(str(file)) as db:
        db.execute("CREATE SCHEMA marts")
        db.execute("CREATE TABLE marts.shops AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (2, NULL)) t(id, name)")
    return file


def suite(folder: Path, *expectations: dict[str, Any], mart: str = "shops") -> Path:
    """A folder with one suite."""
    folder.mkdir(exist_ok=True)
    (folder / f"{mart}.yaml").write_text(yaml.safe_dump({"mart": mart, "expectations": list(expectations)}))
    return folder


@pytest.fixture
def gate(candidate: Path, tmp_path: Path) -> Gate:
    def run(*expectations: dict[str, Any], mart: str = "shops", docs: Path | None = None) -> QualityReport:
        return validate(
            f"duckdb:///{candidate}", load_suites(suite(tmp_path / "suites", *expectations, mart=mart)), docs
        )

    return run


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "millrace.quality", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_what_holds_passes(gate: Gate) -> None:
    report = gate(ROWS, {"type": "expect_column_values_to_be_in_set", "args": {"column": "id", "value_set": [1, 2]}})
    assert report.passed
    assert [r.success for r in report.results] == [True, True]
    assert {r.suite for r in report.results} == {"shops"}


def test_a_failed_stop_refuses_with_what_was_seen_and_a_sample(gate: Gate) -> None:
    report = gate(UNIQUE, SMALL, ROWS)
    assert not report.passed
    values, table = sorted(report.failed("stop"), key=lambda r: r.column, reverse=True)
    assert (values.column, values.observed, values.sample) == ("id", "2 of 3 rows", ("2", "2"))
    assert (table.column, table.observed, table.sample) == ("", "3", ())
    assert str(values) == "shops.id: expect_column_values_to_be_unique, saw 2 of 3 rows, e.g. 2, 2"


def test_a_failed_warn_is_told_and_refuses_nothing(gate: Gate) -> None:
    report = gate(ROWS, NAMED | {"severity": "warn"})
    assert report.passed
    (warned,) = report.failed("warn")
    assert (warned.column, warned.severity, warned.observed) == ("name", "warn", "1 of 3 rows")
    assert report.failed("stop") == ()


def test_a_column_that_is_not_there_fails_with_the_reason(gate: Gate) -> None:
    report = gate({"type": "expect_column_values_to_be_unique", "args": {"column": "nr"}})
    (failed,) = report.failed("stop")
    assert '"nr"' in failed.observed
    assert "does not exist" in failed.observed


def test_many_failing_rows_give_a_small_sample(candidate: Path, gate: Gate) -> None:
    with duckdb.connect(str(candidate)) as db:
        db.execute("INSERT INTO marts.shops SELECT 7, 'x' FROM range(1000)")
    ((failed,), *_) = [gate(UNIQUE).failed("stop")]
    assert failed.observed == "1002 of 1003 rows"
    assert len(failed.sample) == 5


@pytest.mark.parametrize(
    ("mart", "expectation", "why"),
    [
        ("stores", UNIQUE, "the candidate has no such mart"),
        ("shops", {"type": "expect_miracles"}, "Great Expectations has no expect_miracles"),
        ("shops", {"type": "expect_column_values_to_be_unique", "args": {"colum": "id"}}, "colum"),
        ("shops", {"type": "expect_column_values_to_be_unique"}, "column"),
        ("shops", {"type": "column_is_unique"}, "expectations.0.type"),
        ("shops", UNIQUE | {"severity": "shout"}, "expectations.0.severity"),
    ],
)
def test_a_suite_that_can_not_be_asked_is_refused_with_its_file(
    gate: Gate, mart: str, expectation: dict[str, Any], why: str
) -> None:
    with pytest.raises(ContractError, match=f"(?s){mart}.yaml: .*{why}"):
        gate(expectation, mart=mart)
    assert gate_still_works(gate, mart)


def gate_still_works(gate: Gate, mart: str) -> bool:
    return mart != "shops" or gate(ROWS).passed


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("shops.yaml", "mart: [", "while parsing"),
        ("shops.yaml", "", "valid dictionary or instance"),
        ("shops.yaml", "mart: stores\nexpectations: [{type: expect_x}]", "name the file stores.yaml"),
        ("shops.yaml", "mart: shops\nexpectations: []", "at least 1 item"),
        ("shops.yaml", "mart: shops\nexpectation: []", "expectations"),
        ("shops.txt", "", "no suites in"),
    ],
)
def test_a_folder_of_suites_that_is_wrong_is_refused(tmp_path: Path, file: str, text: str, why: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ContractError, match=f"(?s){file if why != 'no suites in' else tmp_path}.*{why}|{why}"):
        load_suites(tmp_path)


@pytest.mark.parametrize("url", ["duckdb:///{0}/missing.duckdb", "nonsense", "duckdb:///{0}/empty.duckdb"])
def test_a_candidate_that_is_not_there_is_named_and_not_made(tmp_path: Path, url: str) -> None:
    duckdb.connect(str(tmp_path / "empty.duckdb")).close()
    url = url.format(tmp_path)
    with pytest.raises(Fatal, match=url.removeprefix("duckdb:///")):
        validate(url, load_suites(suite(tmp_path / "suites", ROWS)))
    assert not (tmp_path / "missing.duckdb").exists()


def test_data_docs_are_written_and_only_where_asked(gate: Gate, tmp_path: Path) -> None:
    gate(UNIQUE, docs=tmp_path / "docs")
    pages = [page.relative_to(tmp_path / "docs").as_posix() for page in (tmp_path / "docs").rglob("*.html")]
    assert "index.html" in pages
    assert any(page.startswith("validations/shops/") for page in pages)
    assert "expect" in (tmp_path / "docs" / "expectations" / "shops.html").read_text().lower()


@pytest.mark.parametrize("expectation", [ROWS, UNIQUE, {"type": "expect_miracles"}], ids=lambda e: e["type"])
def test_the_file_is_free_afterwards(gate: Gate, candidate: Path, expectation: dict[str, Any]) -> None:
    try:
        gate(expectation)
    except ContractError:
        assert expectation["type"] == "expect_miracles"
    program = f"import duckdb; duckdb.connect({str(candidate)!r}).execute('CREATE TABLE marts.mine (i INT)')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_explains_itself() -> None:
    done = command("--help")
    assert done.returncode == 0
    assert "--candidate" in done.stdout


@pytest.mark.parametrize(
    ("expectation", "code", "line"),
    [
        (ROWS, 0, "1 of 1 expectations hold"),
        (UNIQUE, 1, "stop shops.id: expect_column_values_to_be_unique, saw 2 of 3"),
    ],
)
def test_the_command_prints_every_expectation_and_its_exit_code_is_the_verdict(
    candidate: Path, tmp_path: Path, expectation: dict[str, Any], code: int, line: str
) -> None:
    suites = suite(tmp_path / "suites", expectation)
    done = command("--candidate", f"duckdb:///{candidate}", "--suites", str(suites))
    assert done.returncode == code, done.stderr
    assert line in done.stdout


def test_the_command_ends_with_two_when_the_gate_can_not_be_asked(candidate: Path, tmp_path: Path) -> None:
    done = command("--candidate", f"duckdb:///{candidate}", "--suites", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("ContractError: no suites in")
