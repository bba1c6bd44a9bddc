"""The quality gate: the real Great Expectations on a small DuckDB file."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from millrace.domain.errors import ContractError, Fatal
from millrace.quality.docs import pages
from millrace.quality.gate import validate, validate_rows
from millrace.quality.render import render
from millrace.quality.report import QualityReport
from millrace.quality.suites import load_suites
from tests.support.command_line import millrace

Gate = Callable[..., QualityReport]

UNIQUE = {"type": "expect_column_values_to_be_unique", "args": {"column": "id"}}
NAMED = {"type": "expect_column_values_to_not_be_null", "args": {"column": "name"}}
SMALL = {"type": "expect_table_row_count_to_be_between", "args": {"max_value": 2}}
ROWS = {"type": "expect_table_row_count_to_be_between", "args": {"min_value": 1}}


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """Write a file with one mart `shops`: three rows, a doubled id and a missing name."""
    file = tmp_path / "candidate.duckdb"
    with duckdb.connect(str(file)) as db:
        db.execute("CREATE SCHEMA marts")
        db.execute("CREATE TABLE marts.shops AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (2, NULL)) t(id, name)")
    return file


def suite(folder: Path, *expectations: dict[str, Any], mart: str = "shops") -> Path:
    """Write a folder with one suite."""
    folder.mkdir(exist_ok=True)
    (folder / f"{mart}.yaml").write_text(yaml.safe_dump({"mart": mart, "expectations": list(expectations)}))
    return folder


@pytest.fixture
def gate(candidate: Path, tmp_path: Path) -> Gate:
    def run(*expectations: dict[str, Any], mart: str = "shops", results: Path | None = None) -> QualityReport:
        return validate(
            f"duckdb:///{candidate}", load_suites(suite(tmp_path / "suites", *expectations, mart=mart)), results
        )

    return run


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return millrace("quality", "validate", *arguments, env=os.environ | {"COLUMNS": "200"})


def test_satisfied_suite_passes(gate: Gate) -> None:
    report = gate(ROWS, {"type": "expect_column_values_to_be_in_set", "args": {"column": "id", "value_set": [1, 2]}})
    assert report.passed
    assert [r.success for r in report.results] == [True, True]
    assert {r.suite for r in report.results} == {"shops"}


def test_failed_stop_rejects_with_a_sample(gate: Gate) -> None:
    report = gate(UNIQUE, SMALL, ROWS)
    assert not report.passed
    values, table = sorted(report.failed("stop"), key=lambda r: r.column, reverse=True)
    assert (values.column, values.observed, values.sample) == ("id", "2 of 3 rows", ("2", "2"))
    assert (table.column, table.observed, table.sample) == ("", "3", ())
    assert str(values) == "shops.id: expect_column_values_to_be_unique, saw 2 of 3 rows, e.g. 2, 2"


def test_failed_warn_reports_but_rejects_nothing(gate: Gate) -> None:
    report = gate(ROWS, NAMED | {"severity": "warn"})
    assert report.passed
    (warned,) = report.failed("warn")
    assert (warned.column, warned.severity, warned.observed) == ("name", "warn", "1 of 3 rows")
    assert report.failed("stop") == ()


def test_error_of_one_expectation_is_its_own(gate: Gate) -> None:
    between = {"type": "expect_column_values_to_be_between", "args": {"column": "name", "min_value": 0}}
    missing = {"type": "expect_column_values_to_be_unique", "args": {"column": "nr"}}
    report = gate(between | {"severity": "warn"}, UNIQUE, missing, ROWS)
    assert [(r.column, r.success) for r in report.results if not r.is_unchecked] == [("id", False), ("", True)]
    first, second = report.failed("stop")
    assert (first.column, second.column) == ("nr", "id"), "what could not be checked comes first"
    (warned,) = report.failed("warn")
    assert str(warned).startswith("shops.name: expect_column_values_to_be_between, could not be checked: ")
    assert "aborted" not in str(report.results)
    assert "SELECT" not in str(report.results)


def test_a_keyword_may_be_the_name_of_a_column(tmp_path: Path) -> None:
    """Rows of a query, as the raw suites have, with a column for each word that DuckDB does not take as it is."""
    file = tmp_path / "words.duckdb"
    with duckdb.connect(str(file)) as db:
        listed = db.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
        words = sorted(word for (word,) in listed.fetchall())
        columns = ", ".join(f'{number} AS "{word}"' for number, word in enumerate(words))
        db.execute(f"CREATE TABLE words AS SELECT {columns}")
    assert {"at", "left", "order"} <= set(words)
    together = {"type": "expect_compound_columns_to_be_unique", "args": {"column_list": words}}
    each = [{"type": "expect_column_values_to_not_be_null", "args": {"column": word}} for word in ("at", "by", "left")]
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "a.b.yaml").write_text(yaml.safe_dump({"stream": "a.b", "expectations": [together, *each]}))
    report = validate_rows(f"duckdb:///{file}", load_suites(folder), {"a.b": "SELECT * FROM words"})
    assert [(r.success, r.observed) for r in report.results if not r.success] == []


def test_error_in_a_database_ends_only_its_query(candidate: Path, tmp_path: Path) -> None:
    """Rows of a query have no known types, so that the database itself rejects the comparison."""
    text = {
        "type": "expect_column_values_to_be_between",
        "severity": "warn",
        "args": {"column": "name", "min_value": 0},
    }
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "a.b.yaml").write_text(yaml.safe_dump({"stream": "a.b", "expectations": [text, UNIQUE, ROWS]}))
    report = validate_rows(f"duckdb:///{candidate}", load_suites(folder), {"a.b": "SELECT * FROM marts.shops"})
    assert [r.is_unchecked for r in sorted(report.results, key=lambda r: r.column)] == [False, False, True]
    assert "Cannot compare values of type VARCHAR" in report.failed("warn")[0].observed


def test_missing_column_fails_with_the_reason(gate: Gate) -> None:
    report = gate({"type": "expect_column_values_to_be_unique", "args": {"column": "nr"}})
    (failed,) = report.failed("stop")
    assert '"nr"' in failed.observed
    assert "does not exist" in failed.observed


def test_many_failing_rows_give_a_small_sample(candidate: Path, gate: Gate) -> None:
    with duckdb.connect(str(candidate)) as db:
        db.execute("INSERT INTO marts.shops SELECT 7, 'x' FROM range(1000)")
    ((failed,), *_) = [gate(UNIQUE).failed("stop")]
    assert failed.observed == "1,002 of 1,003 rows"
    assert len(failed.sample) == 5


@pytest.mark.parametrize(
    ("mart", "expectation", "reason"),
    [
        ("stores", UNIQUE, "the candidate has no such mart"),
        ("shops", {"type": "expect_miracles"}, "Great Expectations has no expect_miracles"),
        ("shops", {"type": "expect_column_values_to_be_unique", "args": {"colum": "id"}}, "colum"),
        ("shops", {"type": "expect_column_values_to_be_unique"}, "column"),
        ("shops", {"type": "column_is_unique"}, "expectations.0.type"),
        ("shops", UNIQUE | {"severity": "shout"}, "expectations.0.severity"),
    ],
)
def test_unusable_suite_is_named_by_file(gate: Gate, mart: str, expectation: dict[str, Any], reason: str) -> None:
    with pytest.raises(ContractError, match=f"(?s){mart}.yaml: .*{reason}"):
        gate(expectation, mart=mart)
    assert gate_still_works(gate, mart)


def gate_still_works(gate: Gate, mart: str) -> bool:
    return mart != "shops" or gate(ROWS).passed


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("shops.yaml", "mart: [", "while parsing"),
        ("shops.yaml", "", "valid dictionary or instance"),
        ("shops.yaml", "mart: stores\nexpectations: [{type: expect_x}]", "name the file stores.yaml"),
        ("shops.yaml", "mart: shops\nexpectations: []", "at least 1 item"),
        ("shops.yaml", "mart: shops\nexpectation: []", "expectations"),
        ("shops.txt", "", "no suites in"),
    ],
)
def test_invalid_suites_folder_is_rejected(tmp_path: Path, file: str, text: str, reason: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ContractError, match=f"(?s){file if reason != 'no suites in' else tmp_path}.*{reason}|{reason}"):
        load_suites(tmp_path)


@pytest.mark.parametrize("url", ["duckdb:///{0}/missing.duckdb", "nonsense", "duckdb:///{0}/empty.duckdb"])
def test_missing_candidate_is_named_not_created(tmp_path: Path, url: str) -> None:
    duckdb.connect(str(tmp_path / "empty.duckdb")).close()
    url = url.format(tmp_path)
    with pytest.raises(Fatal, match=url.removeprefix("duckdb:///")):
        validate(url, load_suites(suite(tmp_path / "suites", ROWS)))
    assert not (tmp_path / "missing.duckdb").exists()


def test_data_docs_are_rendered_from_kept_results_alone(gate: Gate, candidate: Path, tmp_path: Path) -> None:
    documents = []
    for number, expectation in enumerate((ROWS, UNIQUE)):
        gate(expectation, results=tmp_path / f"{number}.json")
        documents.append((tmp_path / f"{number}.json").read_bytes())
    candidate.unlink()
    render(documents, tmp_path / "docs")
    shown = {page.relative_to(tmp_path / "docs").as_posix() for page in (tmp_path / "docs").rglob("*.html")}
    assert shown == {"expectations/shops.html", pages(tmp_path / "docs")["shops"]}, "only the newest results"
    newest = (tmp_path / "docs" / pages(tmp_path / "docs")["shops"]).read_text()
    assert "unique" in newest
    assert "Failed" in newest
    assert "<script" not in newest


def test_nothing_is_rendered_without_results(tmp_path: Path) -> None:
    render([], tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_command_writes_data_docs_with_an_index(candidate: Path, tmp_path: Path) -> None:
    suites, docs = suite(tmp_path / "suites", ROWS), tmp_path / "docs"
    process = command("--candidate", f"duckdb:///{candidate}", "--suites", str(suites), "--docs", str(docs))
    assert process.returncode == 0, process.stderr
    assert pages(docs)["shops"] in (docs / "index.html").read_text()


@pytest.mark.parametrize("expectation", [ROWS, UNIQUE, {"type": "expect_miracles"}], ids=lambda e: e["type"])
def test_file_is_unlocked_afterwards(gate: Gate, candidate: Path, expectation: dict[str, Any]) -> None:
    try:
        gate(expectation)
    except ContractError:
        assert expectation["type"] == "expect_miracles"
    program = f"import duckdb; duckdb.connect({str(candidate)!r}).execute('CREATE TABLE marts.mine (i INT)')"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_command_has_help() -> None:
    process = command("--help")
    assert process.returncode == 0
    assert "--candidate" in process.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expectation", "code", "line"),
    [
        (ROWS, 0, "1 of 1 expectations hold"),
        pytest.param(UNIQUE, 1, "stop shops.id: expect_column_values_to_be_unique, saw 2 of 3", marks=pytest.mark.long),
    ],
)
def test_command_prints_results_and_verdict(
    candidate: Path, tmp_path: Path, expectation: dict[str, Any], code: int, line: str
) -> None:
    suites = suite(tmp_path / "suites", expectation)
    process = command("--candidate", f"duckdb:///{candidate}", "--suites", str(suites))
    assert process.returncode == code, process.stderr
    assert line in process.stdout


def test_command_exits_2_when_gate_cannot_run(candidate: Path, tmp_path: Path) -> None:
    process = command("--candidate", f"duckdb:///{candidate}", "--suites", str(tmp_path))
    assert process.returncode == 2
    assert process.stderr.startswith("error: ContractError: no suites in")
