"""Why a sync failed, from Airbyte's webhook: the API of jobs tells no reason."""

import time
from datetime import UTC, datetime, timedelta

import httpx
from prefect.client.orchestration import get_client

from millrace.domain import names

LOOK_BACK = timedelta(hours=1)
PATIENCE_S = 10.0
PAUSE_S = 0.5


def webhook_error(source: str, job_id: int, patience_s: float = PATIENCE_S) -> str:
    """What the webhook said of a job that just ended; waits a little for it. '' when it said nothing, or never came.

    The webhook is sent once and may be lost, so that nothing may rest on it.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            errors = _errors(source)
        except httpx.HTTPError:
            return ""
        if job_id in errors or time.monotonic() > deadline:
            return errors.get(job_id, "")
        time.sleep(PAUSE_S)


def _errors(source: str) -> dict[int, str]:
    """Error by job, of the events that the webhook became."""
    now = datetime.now(UTC)
    wanted = {
        "event": {"name": [names.SYNC_COMPLETED]},
        "resource": {"id": [names.source_resource(source)]},
        "occurred": {"since": (now - LOOK_BACK).isoformat(), "until": (now + LOOK_BACK).isoformat()},
    }
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/events/filter", json={"filter": wanted, "limit": 50})
    payloads = [event["payload"] for event in answer.raise_for_status().json()["events"]]
    return {payload["job_id"]: payload.get("error") or "" for payload in payloads if "job_id" in payload}
