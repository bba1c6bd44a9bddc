"""Every SQL text that dbt and the quality gates send to BigQuery passes Google's own analyser."""

import re

import pytest
from google.api_core.exceptions import BadRequest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from millrace.quality.suites import load_suites
from tests.support.google_sql.analyser import Analyser
from tests.support.google_sql.models import Analysed, analysed
from tests.support.google_sql.server import analysing
from tests.support.servers import ROOT

# GoogleSQL is compiled once, which takes a minute.
pytestmark = [pytest.mark.demo, pytest.mark.slow, pytest.mark.timeout(900)]

FOLDERS = (ROOT / "expectations", ROOT / "expectations/raw")
SUITES = [suite for folder in FOLDERS if any(folder.glob("*.yaml")) for suite in load_suites(folder)]
KINDS = {  # what each kind of expectation computes in the warehouse
    "expect_table_row_count_to_be_between": r"count\(\*\)",
    "expect_compound_columns_to_be_unique": r"count|over",
    "expect_column_values_to_be_unique": r"group by|partition by|count\(distinct|select distinct",
    "expect_column_values_to_not_be_null": r"is null",
    "expect_column_values_to_be_between": r">=|<=",
    "expect_column_values_to_be_in_set": r"not in",
    "expect_column_values_to_not_be_in_set": r" in ",
    "expect_column_pair_values_a_to_be_greater_than_b": r">=",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    return analysed(tmp_path_factory.mktemp("models"))


def test_nothing_that_was_sent_is_refused(models: Analysed) -> None:
    assert models.server.refused == []
    assert models.failed == {}


@pytest.mark.parametrize("build", ["from scratch", "changed days"])
def test_each_node_of_dbt_is_googles(models: Analysed, build: str) -> None:
    wrong = {n: said for n, said in models.nodes[build].items() if not said.startswith(("success", "pass"))}
    assert wrong == {}
    sent = "\n".join(models.texts[build])
    named = set(re.findall(r'"node_id": "([^"]+)"', sent))
    assert set(models.nodes[build]) - named == set(), "no text of these nodes was analysed"


def test_builds_send_every_kind_of_statement(models: Analysed) -> None:
    whole, days = ("\n".join(models.texts[name]).lower() for name in ("from scratch", "changed days"))
    assert "partition by date_trunc(flight_date, month)" in whole
    assert re.search(r"create or replace view", whole)
    assert re.search(r"for system_time as of timestamp", whole)
    assert re.search(r"delete from .*flight_date in \(date '2013-01-01', date '2013-01-02'\)", days)
    assert re.search(r"merge into|insert into", days)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_each_expectation_is_googles(models: Analysed, suite: object) -> None:
    name, expected = suite.name, suite.expectations  # type: ignore[attr-defined]
    results = models.reports[name].results
    assert sorted(r.expectation for r in results) == sorted(e.type for e in expected)
    assert not [r.observed for r in results if "Error" in r.observed or "400" in r.observed]
    sent = "\n".join(models.texts[name]).lower()
    assert [e.type for e in expected if not re.search(KINDS[e.type], sent)] == []


def test_wrong_sql_of_any_program_is_refused() -> None:
    analyser = Analyser()
    analyser.run("CREATE TABLE `p.d.t` (a INT64, b STRING)", {})
    with analysing(analyser) as server:
        client = bigquery.Client(
            "p", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.address}
        )
        assert [row.values() for row in client.query("select a, b from `p`.`d`.`t`").result()] == [(0, "")]
        for wrong in ("select c from p.d.t", "select sum(b) from p.d.t", "select edit_distance(b, b) from p.d.t"):
            with pytest.raises(BadRequest):
                client.query(wrong, retry=None, job_retry=None).result()
        client.close()
    assert len(server.refused) == 3
