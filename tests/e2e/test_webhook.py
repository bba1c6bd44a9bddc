"""A sync that someone starts in Airbyte itself: Airbyte's webhook alone brings it into the marts."""

import httpx
import pytest

from local.demo.airport_ops.check import compare
from local.demo.airport_ops.replay import advance, day
from local.demo.day import is_settled
from millrace.domain import names
from tests.e2e.stack import Stack, now
from tests.support.pushes import WEBHOOK
from tests.support.servers import wait_until

pytestmark = pytest.mark.demo


@pytest.mark.long
def test_webhook_alone_completes_an_airbyte_sync(stack: Stack) -> None:
    since, number = now(), day(stack.local.database) + 1
    before = {(d.mart, d.key) for d in compare(stack.local.marts, number - 1).differences}  # rows that other tests land
    advance(stack.local.database, number)
    with stack.airbyte() as airbyte:
        job = airbyte.start_job(airbyte.connection("airport_ops")["connectionId"])

    def manifests() -> set[str]:
        paths = [o.name for p in (names.MANIFESTS, names.EMPTY_MANIFESTS) for o in stack.platform.lake.list(p)]
        return {names.parse_manifest_path(path)[1] for path in paths if path.endswith(f"-{job:012d}.json")}

    wait_until(lambda: manifests() == set(stack.platform.source.streams), f"job {job} is landed", 90)
    wait_until(lambda: is_settled(stack.platform), "its rows are published", 120)
    wait_until(lambda: not any(run.active for run in stack.platform.api.runs(since)), "all runs have ended", 60)
    assert {(d.mart, d.key) for d in compare(stack.local.marts, number).differences} <= before
    runs = [(run.flow, run.state) for run in stack.platform.api.runs(since)]
    assert runs.count(("land", "COMPLETED")) == 1
    assert {run for run in runs if run[0] != "show"} == {
        ("land", "COMPLETED"),
        ("merge", "COMPLETED"),
        ("model", "COMPLETED"),
    }


def test_webhook_without_token_starts_nothing(stack: Stack) -> None:
    since = now()
    for token in ("guess", "airbyte-webhook-token"):
        answer = httpx.post(f"{stack.local.http('gateway')}/airbyte/{token}", json=WEBHOOK, timeout=30)
        assert answer.status_code == 401
    assert stack.platform.api.events(names.SYNC_COMPLETED, since) == []
