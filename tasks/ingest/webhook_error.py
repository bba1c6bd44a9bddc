"""The error of a failed sync, from Airbyte's webhook: the jobs API has no field for it."""

import time
from datetime import UTC, datetime, timedelta

import httpx
from prefect.client.orchestration import get_client

from millrace.domain import names

LOOK_BACK = timedelta(hours=1)
PATIENCE_S = 10.0
PAUSE_S = 0.5


def webhook_error(source: str, job_id: int, patience_s: float = PATIENCE_S) -> str:
    """Return the error that the webhook reports of a job that just ended, or '' when none arrives in time.

    The webhook is sent once and may be lost, so that no decision may depend on it.
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
    """Return the error of each job, from the events that the gateway made of the webhook."""
    now = datetime.now(UTC)
    event_filter = {
        "event": {"name": [names.SYNC_COMPLETED]},
        "resource": {"id": [names.source_resource(source)]},
        "occurred": {"since": (now - LOOK_BACK).isoformat(), "until": (now + LOOK_BACK).isoformat()},
    }
    with get_client(sync_client=True) as client:
        response = client.request("POST", "/events/filter", json={"filter": event_filter, "limit": 50})
    payloads = [event["payload"] for event in response.raise_for_status().json()["events"]]
    return {payload["job_id"]: payload.get("error") or "" for payload in payloads if "job_id" in payload}
