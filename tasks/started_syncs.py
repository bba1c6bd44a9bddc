"""Which sync a flow run asked for and started: kept in the lake, so that it is found again after any death."""

from millrace.domain import names
from millrace.domain.sync import RequestedSync, StartedSync
from millrace.lake.store import Lake, ObjectMissing

JSON = "application/json"


def recall_requested(lake: Lake, run: str) -> RequestedSync | None:
    """The sync that a run asked for, or was about to."""
    try:
        return RequestedSync.model_validate_json(lake.read(names.requested_sync_path(run)))
    except ObjectMissing:
        return None


def remember_requested(lake: Lake, run: str, requested: RequestedSync) -> None:
    """Keep what a run is about to ask for."""
    lake.write(names.requested_sync_path(run), requested.model_dump_json().encode(), JSON)


def recall_sync(lake: Lake, run: str) -> StartedSync | None:
    """The sync that a run started and has not reported as failed."""
    try:
        return StartedSync.model_validate_json(lake.read(names.started_sync_path(run)))
    except ObjectMissing:
        return None


def remember_sync(lake: Lake, run: str, started: StartedSync) -> None:
    """Keep what a run started."""
    lake.write(names.started_sync_path(run), started.model_dump_json().encode(), JSON)


def forget_sync(lake: Lake, run: str) -> None:
    """Let the run start another sync when it is retried."""
    lake.delete(names.started_sync_path(run))
    lake.delete(names.requested_sync_path(run))
