"""Cancelling a run, as the UI does it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from millrace.domain import names
from tests.e2e.stack import Stack
from tests.support.servers import wait_until

pytestmark = [pytest.mark.demo, pytest.mark.slow]

PATIENCE_S = 90


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Lock a database meanwhile: readers wait."""
    db = sqlite3.connect(database, isolation_level=None, timeout=30)
    try:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")
        db.execute("PRAGMA journal_mode=WAL")
    finally:
        db.close()


def test_cancelled_ingest_cancels_its_airbyte_job(stack: Stack) -> None:
    with locked(stack.local.database), stack.by_hand(), stack.airbyte() as airbyte:
        connection = airbyte.connection("airport_ops")["connectionId"]
        run = stack.start("ingest/ingest", source="airport_ops")
        started = names.started_sync_path(run)
        wait_until(lambda: stack.platform.lake.stat(started), "the run has started its sync", PATIENCE_S)
        job = airbyte.newest_jobs(connection)[0]
        assert job.status == "running"
        state = {"type": "CANCELLING", "name": "Cancelling"}
        stack.http.post(f"/flow_runs/{run}/set_state", json={"state": state}).raise_for_status()
        wait_until(lambda: airbyte.job(job.id).status == "cancelled", "Airbyte's job is cancelled", PATIENCE_S)
        assert stack.ended(run).state == "CANCELLED"
