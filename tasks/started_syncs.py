"""The sync that a flow run requested and started, kept in the lake: a run that dies finds it again on its retry."""

from millrace.domain import names
from millrace.domain.errors import ObjectMissing
from millrace.domain.sync import RequestedSync, StartedSync
from millrace.lake.store import Lake

JSON = "application/json"


def recall_requested(lake: Lake, run: str) -> RequestedSync | None:
    """Return the sync that a run requested, or was about to request."""
    try:
        return RequestedSync.model_validate_json(lake.read(names.requested_sync_path(run)))
    except ObjectMissing:
        return None


def remember_requested(lake: Lake, run: str, requested: RequestedSync) -> None:
    """Store the sync that a run is about to request."""
    lake.write(names.requested_sync_path(run), requested.model_dump_json().encode(), JSON)


def recall_sync(lake: Lake, run: str) -> StartedSync | None:
    """Return the sync that a run started and has not reported as failed."""
    try:
        return StartedSync.model_validate_json(lake.read(names.started_sync_path(run)))
    except ObjectMissing:
        return None


def remember_sync(lake: Lake, run: str, started: StartedSync) -> None:
    """Store the sync that a run started."""
    lake.write(names.started_sync_path(run), started.model_dump_json().encode(), JSON)


def forget_sync(lake: Lake, run: str) -> None:
    """Delete the stored sync of a run, so that its retry starts another one."""
    lake.delete(names.started_sync_path(run))
    lake.delete(names.requested_sync_path(run))
