"""Each alert's filter matches the log lines of its failure and no others; the code itself writes the lines."""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import httpx
import pytest
import yaml

from local.servers.identity.tokens import sign_oidc
from millrace.domain.errors import BalanceError, BudgetExceeded, Fatal
from tasks.reconcile.report_freshness import freshness
from tests.integration.test_balance import patch_count
from tests.support.captured import Line, Lines, captured
from tests.support.in_process import InProcess
from tests.support.log_filter import compile_filter
from tests.support.merging import contract, parquet, upsert
from tests.support.prefect_server import prefect_server
from tests.support.servers import ROOT, free_port, listens, process, server, wait_until
from tests.support.shop import SHOP
from tests.unit.test_docs import anchors

TOLD = yaml.safe_load((ROOT / "millrace" / "observability" / "alerts.yaml").read_text())
FILTERS = {name: compile_filter(metric["filter"]) for name, metric in TOLD["metrics"].items()}
INNOCENT = {"reconciled", "merges", "merges_complete", "freshness_checks", "freshness_kept"}
AUDIENCE, ACCOUNT = "https://gateway.test/push", "push@millrace-test.iam.gserviceaccount.com"


def hits(lines: list[Line]) -> set[str]:
    """Return the metrics that count at least one of the lines."""
    return {name for name, fits in FILTERS.items() if any(fits(line) for line in lines)}


def merge_whole() -> None:
    merging = InProcess(contract())
    merging.land(rows=[upsert(1, 10), upsert(1, 11), upsert(2, 12)])
    assert merging.merge()


def quarantine_a_row() -> None:
    merging = InProcess(contract())
    merging.land(rows=[upsert(1, 10), upsert(None, 11)])
    merging.merge()


def quarantine_a_file() -> None:
    merging = InProcess(contract())
    merging.land(merging.put(parquet([upsert(1, 10)])), merging.put(b"no parquet", part=1))
    merging.merge()


def lose_a_row() -> None:
    merging = InProcess(contract())
    merging.land(rows=[upsert(1, 10)])
    with patch_count("count_stale"), pytest.raises(BalanceError):
        merging.merge()


def start_a_log_over() -> None:
    merging = InProcess(contract())
    merging.land(rows=[upsert(n, 1000) for n in range(200)])
    merging.merge()
    merging.land(rows=[upsert(n, 10) for n in range(200)])
    merging.merge()


def block_a_snapshot() -> None:
    merging = InProcess(contract(mode="overwrite", order=[]))
    merging.land(rows=[upsert(1, 10)], generation_id=1)
    merging.merge()
    merging.land(merging.put(parquet([upsert(1, 11)])), merging.put(b"no parquet", part=1), generation_id=2)
    merging.merge()


def exceed_a_budget() -> None:
    merging = InProcess(contract())
    merging.land(rows=[upsert(1, 10)])
    with (
        mock.patch("millrace.warehouse.duckdb.commit.commit", side_effect=BudgetExceeded("too much")),
        pytest.raises(Fatal),
    ):
        merging.merge()


MERGES: dict[str, tuple[Callable[[], None], set[str]]] = {
    "a whole merge": (merge_whole, {"merges", "merges_complete"}),
    "a quarantined row": (quarantine_a_row, {"merges", "quarantined"}),
    "a quarantined file": (quarantine_a_file, {"merges", "quarantined"}),
    "a lost row": (lose_a_row, {"merges_unbalanced"}),
    "a batch over its budget": (exceed_a_budget, {"merges_over_budget"}),
    "a log that started over": (start_a_log_over, {"merges", "merges_complete", "stale_storms"}),
    "a blocked snapshot": (block_a_snapshot, {"merges", "merges_complete", "quarantined", "replacements_blocked"}),
}


@pytest.mark.parametrize("failure", MERGES)
def test_merge_failure_triggers_only_its_metrics(failure: str) -> None:
    fail, expected = MERGES[failure]
    with captured() as lines:
        fail()
    metrics = hits(lines)
    assert metrics - {"merges_complete"} == expected - {"merges_complete"}
    if failure in ("a whole merge", "a quarantined row"):
        assert ("merges_complete" in metrics) is ("merges_complete" in expected)


def test_gateway_lines_trigger_only_their_metrics(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "gateway.log"
    with server("identity", tmp_path / "identity") as certs, prefect_server(free_port()) as prefect:
        env = {
            "MILLRACE_GATEWAY__AUDIENCE": AUDIENCE,
            "MILLRACE_GATEWAY__PUSH_ACCOUNT": ACCOUNT,
            "MILLRACE_GATEWAY__CERTS_URL": f"http://127.0.0.1:{certs}/certs",
            "PREFECT_API_URL": prefect.url,
        }
        with process("-m", "millrace.gateway", "--port", str(port), env=env, log=log):
            wait_until(lambda: listens(port), "the gateway answers")
            token = sign_oidc(tmp_path / "identity", AUDIENCE, ACCOUNT, time.time())
            good = json.dumps(
                {
                    "message": {
                        "messageId": "1",
                        "publishTime": "2026-01-01T12:00:00Z",
                        "data": "",
                        "attributes": {"source": "shop"},
                    },
                    "subscription": "s",
                }
            )
            heard = [
                hits(_push(port, log, body, token, prefect.answer))
                for body, token, prefect.answer in (
                    (good, token, 204),
                    ("no json", token, 204),
                    (good, "forged", 204),
                    (good.replace('"1"', '"2"'), token, 503),
                )
            ]
    assert heard == [set(), {"pushes_refused"}, {"pushes_refused"}, {"pushes_unavailable"}]


def _push(port: int, log: Path, body: str, token: str, _: int) -> list[Line]:
    """Return the log line of one push; the gateway writes it before it answers."""
    before = len(log.read_text().splitlines())
    url = f"http://127.0.0.1:{port}/push/ingest-requested"
    httpx.post(url, content=body, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    return [json.loads(line) for line in log.read_text().splitlines()[before:]]


@pytest.mark.parametrize(
    ("age_h", "expected"),
    [(1, {"freshness_checks", "freshness_kept"}), (37, {"freshness_checks"}), (None, {"freshness_checks"})],
)
def test_stream_is_fresh_as_its_contract_defines(age_h: int | None, expected: set[str]) -> None:
    orders = SHOP.stream("orders")
    now = datetime(2026, 1, 3, tzinfo=UTC)
    newest = {orders.id: now - timedelta(hours=age_h)} if age_h is not None else {}
    handler = Lines()
    for fields in freshness([orders], newest, now):
        record = {"name": "tasks", "msg": "x", "event": "stream.freshness", "fields": fields}
        handler.emit(logging.makeLogRecord(record))
    assert hits(handler.lines) == expected


def test_every_alert_has_a_metric_and_a_runbook() -> None:
    runbook = anchors(ROOT / "docs" / "operations" / "alerts.md")
    alerts = [*TOLD["alerts"], *TOLD["absences"], *TOLD["objectives"].values()]
    assert [a["runbook"] for a in alerts if a["runbook"] not in runbook] == []
    used = {a["metric"] for a in alerts if "metric" in a}
    used |= {o[side] for o in TOLD["objectives"].values() for side in ("good", "total")}
    assert used == set(TOLD["metrics"])
    assert used - INNOCENT == {a["metric"] for a in TOLD["alerts"] if "metric" in a}


def test_dashboard_shows_metrics_that_exist() -> None:
    text = (ROOT / "millrace" / "observability" / "dashboard.json").read_text()
    shown = {part.split('\\"')[0] for part in text.split("user/millrace/")[1:]}
    assert shown <= set(TOLD["metrics"])
    assert {"reconciled", "merges", "runs_failed"} <= shown
