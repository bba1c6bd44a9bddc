"""Bad input at night: each gives one clear message in Slack, what is bad is kept, and the rest goes on."""

import pyarrow as pa
import pytest

from local.demo.airport_ops.check import Comparison
from local.demo.run import problems
from millrace.domain import names
from tests.e2e.landing import LSN, SCHEMA, SOURCE, STREAM, airline, land, parquet
from tests.e2e.stack import Stack, now
from tests.support.servers import wait_until

CONTRADICTS = SCHEMA.set(SCHEMA.get_field_index("_ab_cdc_lsn"), pa.field("_ab_cdc_lsn", pa.bool_()))


def test_bad_files_and_rows_are_quarantined_and_the_rest_is_merged(stack: Stack) -> None:
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
    said = stack.wait_for_message(f"{SOURCE}.{STREAM}", "quarantined", since=since)
    for reason in ("file.unreadable", "file.type", "key.null"):
        assert reason in said
    assert "`_quarantine/airport_ops/airlines/" in said
    assert "/runs/flow-run/" in said
    folder = names.quarantine_prefix(SOURCE, STREAM, "").rstrip("/")
    assert [o.name for o in stack.platform.lake.list(folder)]
    newest = [e for e in stack.platform.warehouse.ledger(since) if e.kind == "merged"][-1]
    assert (newest.rows_in, newest.merged, newest.quarantined) == (6, 2, 4)


def test_an_unknown_source_names_those_there_are(stack: Stack) -> None:
    since = now()
    failed = stack.run("ingest/ingest", source="nope")
    assert failed.state == "FAILED"
    said = stack.wait_for_message("ingest failed", "nope", since=since)
    assert "no source 'nope' in sources/; there are airport_ops" in said
    assert f"/runs/flow-run/{failed.id}" in said


@pytest.mark.parametrize("stream", ["none", "nope"])
def test_a_merge_without_a_stream_is_refused(stack: Stack, stream: str) -> None:
    failed = stack.run("merge/merge", source=SOURCE, stream=stream)
    assert failed.state == "FAILED"
    assert f"has no stream '{stream}'; it has flights, weather" in failed.message


def test_a_disabled_secret_is_named_with_the_command_that_mends_it(stack: Stack) -> None:
    since = now()
    with stack.secret_disabled("airbyte-client-id"):
        assert stack.run("ingest/ingest", source=SOURCE).state == "FAILED"
        said = stack.wait_for_message("ingest failed", since=since)
    assert "secret 'airbyte-client-id': version latest is disabled" in said
    assert "gcloud secrets versions add airbyte-client-id" in said


@pytest.mark.long
def test_a_wrong_slack_url_can_not_be_told_in_slack_so_the_run_tells_it(stack: Stack) -> None:
    since = now()
    with stack.secret_value("slack-webhook-url", f"{stack.place.http('slack')}/services/T0/B0/wrong"):
        stack.administer("cli.deploy.blocks")
        assert stack.run("ingest/ingest", source="unheard").state == "FAILED"

        def told() -> list[str]:
            return problems(stack.platform, [], Comparison(7, 1, ()), since)

        wait_until(lambda: any("send-notification" in text for text in told()), "the failed message is an event", 60)
    stack.administer("cli.deploy.blocks")
    assert not [message for message in stack.messages(since) if "unheard" in message]
