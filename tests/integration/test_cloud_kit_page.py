"""The page of what was run on Google Cloud: generated from accepted results only, and up to date."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.budget import Limits
from tests.cloud.checks.check import Result
from tests.cloud.cleanup import Cleaned, Leftover
from tests.cloud.page import PAGE, RUNS, NotAccepted, accept, load, main, render
from tests.cloud.results import Report
from tests.cloud.suites import SUITES, Suite, load_plan, results_of
from tests.cloud.target import Target
from tests.support.servers import ROOT

GOOGLE = Target("secret-project", "EU", "europe-west1", {})


def report(folder: Path, target: Target = GOOGLE, **changes: Any) -> Path:
    """Write results as a run does; return the file."""
    path = folder / "20270101T000000Z-abcdef00.json"
    written_report = Report(target, Limits(), "abcdef00", path, began="2027-01-01T00:00:00+00:00", state="ended")
    flow = "serviceAccount:millrace-flow@secret-project.iam.gserviceaccount.com"
    written_report.results = [
        Result("lake", "bucket secret-project-lake", "pass", "It is as Terraform makes it."),
        Result("lake", "rights", "fail", f"{flow} lacks a|b.", "run it"),
        Result("storage", "held object", "pass", "It holds."),
        Result("project", "credentials", "unknown", "They are of jane.doe@example.com."),
    ]
    written_report.use, written_report.cleaned = {"cost": 0.12}, Cleaned()
    for name, value in changes.items():
        setattr(written_report, name, value)
    written_report.write()
    return path


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(load()), "run `python -m tests.cloud.page`"
    assert main(["--check"]) == 0


def test_page_says_that_nothing_was_run() -> None:
    text = render([])
    assert "**Nothing was run on Google Cloud.**" in text
    assert text.count("| never | not run |") == 7 + len(SUITES)
    assert load() or "Nothing was run" in PAGE.read_text()


def test_page_shows_accepted_results(tmp_path: Path) -> None:
    accept(report(tmp_path), tmp_path / "runs")
    text = render(load(tmp_path / "runs"))
    assert "Nothing was run" not in text
    assert "| checks: lake | 2027-01-01 | 1 passed, 1 failed, 0 unknown |" in text
    assert "| suite: Cloud Storage | 2027-01-01 | 1 passed, 0 failed, 0 unknown |" in text
    assert "| suite: BigQuery | never | not run |" in text
    assert "| 2 | 1 | 1 | 0.12 | proven |" in text
    assert "lacks a\\|b." in text


def test_accepted_results_name_no_project_and_nobody(tmp_path: Path) -> None:
    text = accept(report(tmp_path), tmp_path / "runs").read_text()
    assert [word for word in ("secret-project", "jane", "example.com") if word in text] == []
    assert "millrace-flow@PROJECT.iam.gserviceaccount.com" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": Target("secret-project", "EU", "r", {"storage": "http://127.0.0.1:1"})}, "run on local servers"),
        ({"state": "ended by SIGTERM"}, "did not end"),
        ({"state": "running"}, "did not end"),
    ],
)
def test_other_results_are_not_accepted(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NotAccepted, match=message):
        accept(report(tmp_path, **changes), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_accepted_results_are_of_google_cloud() -> None:
    assert [run["run"] for run in load() if run["on"] != "Google Cloud" or run["project"] != "PROJECT"] == []
    assert RUNS.is_relative_to(ROOT)


@pytest.mark.parametrize(
    ("outcomes", "cleaned", "state", "code"),
    [
        (["pass"], Cleaned(), "ended", 0),
        (["pass", "unknown"], Cleaned(), "ended", 2),
        (["unknown", "fail"], None, "ended", 1),
        (["pass"], Cleaned(left=[Leftover("topics", "t", True)]), "ended", 1),
        (["pass"], Cleaned(failed={"topics": "no"}), "ended", 1),
        (["pass"], Cleaned(), "ended by SIGINT", 2),
        ([], None, "running", 2),
    ],
)
def test_exit_code_tells_the_outcome(tmp_path: Path, outcomes: Any, cleaned: Any, state: str, code: int) -> None:
    written_report = Report(GOOGLE, Limits(), "abcdef00", tmp_path / "x.json", state=state, cleaned=cleaned)
    written_report.results = [Result("a", "b", outcome, "c.") for outcome in outcomes]
    assert written_report.code == code


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_left_out_tests_exist_and_have_reasons(suite: Suite) -> None:
    names = {
        node.name
        for file in suite.files
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert set(suite.left_out) - names == set()
    assert names - set(suite.left_out), "a suite runs something"
    assert all(reason and "\n" not in reason for reason in suite.left_out.values())


def test_plan_covers_every_suite() -> None:
    plan = load_plan()
    assert set(plan) == {suite.name for suite in SUITES}
    assert all(planned.use.cost > 0 and planned.calls for planned in plan.values())
    assert plan["bigquery"].use.scanned_bytes > 0


def test_suite_without_a_report_is_unknown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ImportError: no such thing")
    (result,) = results_of(SUITES[0], tmp_path / "none.xml", 4, log)
    assert (result.outcome, "pytest ended with 4" in result.message) == ("unknown", True)
    assert "ImportError: no such thing" in result.message


def test_skipped_test_is_unknown(tmp_path: Path) -> None:
    report_ = tmp_path / "r.xml"
    report_.write_text(
        '<testsuites><testsuite><testcase name="test_a"/><testcase name="test_b"><skipped message="no"/></testcase>'
        '<testcase name="test_c"><failure message="assert 1"/></testcase></testsuite></testsuites>'
    )
    results = results_of(SUITES[0], report_, 1, tmp_path / "log")
    assert [(r.title, r.outcome) for r in results] == [("a", "pass"), ("b", "unknown"), ("c", "fail")]


def test_results_are_written_whole(tmp_path: Path) -> None:
    path = report(tmp_path)
    content = json.loads(path.read_text())
    assert (content["format"], content["on"], content["run"]) == (1, "Google Cloud", "abcdef00")
    assert not list(tmp_path.glob("*.part"))
