"""Invalid input: each case sends one clear message to Slack, is quarantined, and does not stop the rest."""

import re

import pyarrow as pa
import pytest

from local.demo.airport_ops.check import Comparison
from local.demo.run import problems
from millrace.domain import names
from tests.e2e.landing import LSN, SCHEMA, SOURCE, STREAM, airline, land, parquet
from tests.e2e.stack import Stack, now
from tests.support.servers import wait_until

pytestmark = pytest.mark.demo

CONTRADICTS = SCHEMA.set(SCHEMA.get_field_index("_ab_cdc_lsn"), pa.field("_ab_cdc_lsn", pa.bool_()))


def test_bad_input_is_quarantined_and_rest_merged(stack: Stack) -> None:
    since, good = now(), parquet([airline("QA", "good one", LSN + 1)])
    contradicts = parquet([airline("QB", "x") | {"_ab_cdc_lsn": True}], CONTRADICTS)
    land(
        stack.platform.lake,
        good,
        good[: len(good) // 2],
        b"no parquet at all",
        contradicts,
        parquet([airline(None, "without a key"), airline("QC", "beside it", LSN + 2)]),
    )
    message = stack.wait_for_message(f"{SOURCE}.{STREAM}", "quarantined", since=since)
    for reason in ("file.unreadable", "file.type", "key.null"):
        assert reason in message
    assert "`_quarantine/airport_ops/airlines/" in message
    assert "/runs/flow-run/" in message
    folder = names.quarantine_prefix(SOURCE, STREAM, "").rstrip("/")
    assert [o.name for o in stack.platform.lake.list(folder)]
    newest = [e for e in stack.platform.warehouse.ledger(since) if e.kind == "merged"][-1]
    assert (newest.rows_in, newest.merged, newest.quarantined) == (6, 2, 4)


@pytest.mark.slow
def test_unknown_source_is_rejected_without_alert(stack: Stack) -> None:
    since = now()
    failed = stack.run("ingest/ingest", source="nope")
    assert failed.state == "FAILED"
    assert "no source 'nope' in sources/; there are airport_ops" in failed.message
    assert [message for message in stack.messages(since) if "nope" in message] == []


@pytest.mark.long
@pytest.mark.parametrize("stream", ["none", "nope"])
def test_merge_without_a_stream_is_rejected(stack: Stack, stream: str) -> None:
    failed = stack.run("merge/merge", source=SOURCE, stream=stream)
    assert failed.state == "FAILED"
    assert f"has no stream '{stream}'; it has flights, weather" in failed.message


@pytest.mark.slow
def test_disabled_secret_error_names_the_fix(stack: Stack) -> None:
    since = now()
    with stack.secret_disabled("airbyte-client-id"):
        assert stack.run("ingest/ingest", source=SOURCE).state == "FAILED"
        message = stack.wait_for_message("ingest failed", since=since)
    assert "secret 'airbyte-client-id': version latest is disabled" in message
    assert re.search(r"millrace( --\S+ \S+)* secrets add airbyte-client-id", message)


@pytest.mark.long
def test_wrong_slack_url_is_reported_by_the_run(stack: Stack) -> None:
    since = now()
    with stack.secret_value("slack-webhook-url", f"{stack.local.http('slack')}/services/T0/B0/wrong"):
        stack.administer("deploy", "blocks")
        with stack.secret_disabled("airbyte-client-id"):
            assert stack.run("ingest/ingest", source=SOURCE).state == "FAILED"

        def failed_actions() -> list[str]:
            return problems(stack.platform, [], Comparison(7, 1, ()), since)

        wait_until(
            lambda: any("send-notification" in text for text in failed_actions()), "the failed message is an event", 60
        )
    stack.administer("deploy", "blocks")
    assert not [message for message in stack.messages(since) if "ingest failed" in message]
