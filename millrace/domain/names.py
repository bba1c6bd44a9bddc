"""Names that two modules or two systems share: topics, events, paths, tables, resources; each is built here only."""

import re
from datetime import datetime

LAKE_LANDED = "lake-landed"
WAREHOUSE_MERGED = "warehouse-merged"
MARTS_PUBLISHED = "marts-published"
INGEST_REQUESTED = "ingest-requested"
SECRET_ROTATED = "secret-rotated"
AIRBYTE_COMPLETED = "airbyte-completed"
TOPICS = (LAKE_LANDED, WAREHOUSE_MERGED, MARTS_PUBLISHED, INGEST_REQUESTED, SECRET_ROTATED, AIRBYTE_COMPLETED)

SYNC_COMPLETED = "sync.completed"
EVENT_OF_TOPIC = {
    LAKE_LANDED: "lake.landed",
    WAREHOUSE_MERGED: "warehouse.merged",
    MARTS_PUBLISHED: "marts.published",
    INGEST_REQUESTED: "source.requested",
    SECRET_ROTATED: "secret.rotated",
    AIRBYTE_COMPLETED: SYNC_COMPLETED,
}
ORIGIN_ATTRIBUTE = "millrace-origin-id"

QUALITY_FAILED = "quality.failed"
QUALITY_RECOVERED = "quality.recovered"
QUALITY_QUARANTINED = "quality.quarantined"
QUALITY_WARNED = "quality.warned"
ROWS_QUARANTINED = "rows.quarantined"
SCHEMA_DRIFT = "schema.drift"
SECRET_AGING = "secret.aging"
REPLACEMENT_BLOCKED = "merge.replacement_blocked"
OVER_BUDGET = "merge.over_budget"
KEYS_DOUBLED = "keys.doubled"

STREAM_MERGED = "stream.merged"
MART_PUBLISHED = "mart.published"
RUN_FAILED = "run.failed"
RUN_RECOVERED = "run.recovered"
RECONCILE_FOUND = "reconcile.found"
DEAD_LETTERS_FOUND = "dead_letters.found"

WAREHOUSE_RESOURCE = "millrace.warehouse"
RECONCILE_RESOURCE = "millrace.reconcile"

RAW = "raw/"
MANIFESTS = "_manifests/"
EMPTY_MANIFESTS = "_manifests_empty/"
QUARANTINE = "_quarantine/"
RESULTS = "_results/"
PAUSED = "_paused/"
SITE = "_site/"
STATUS_PAGE = f"{SITE}status/index.html"
MARTS_EXPORT = f"{SITE}marts/"
STATUS_SYNCS = f"{SITE}status/syncs.json"
SHOWN = f"{SITE}shown"

GATE_RESULTS = f"{RESULTS}quality/"

LAST_FULL_SCAN = "_batches/audited"

STEP_TAG = "step"
RUN_LABEL = "millrace.run"  # of an event, on its resource: whether a run must start for it
NEEDED = "needed"

MODEL_SLOT = "model"
SHOW_SLOT = "show"
MERGE_SLOTS = "merge."

MANIFEST_PATH = re.compile(
    r"(?:_manifests|_manifests_empty)/([a-z][a-z0-9_]{0,62})/([a-z][a-z0-9_]{0,62})/\d{8}/[^/]+-(\d+)\.json"
)


def dead_letter_topic(topic: str) -> str:
    """Return the dead-letter topic of `topic`."""
    return f"{topic}-dead"


def dead_letter_subscription(topic: str) -> str:
    """Return the pull subscription that holds the dead letters of `topic`."""
    return f"{topic}-dead-pull"


def gateway_subscription(topic: str) -> str:
    """Return the push subscription that delivers `topic` to the gateway."""
    return f"{topic}-gateway"


def pull_subscription(topic: str) -> str:
    """Return the pull subscription of `topic`, for a gateway in a private cluster; replaces the push one."""
    return f"{topic}-gateway-pull"


def raw_prefix(source: str, stream: str) -> str:
    """Return the folder of a stream's objects."""
    return f"{RAW}{source}/{stream}/"


def sync_prefix(source: str, stream: str, job_id: int) -> str:
    """Return the folder of the objects that one sync wrote."""
    return f"{raw_prefix(source, stream)}sync_id={job_id}/"


def manifests_prefix(source: str, stream: str, *, empty: bool = False) -> str:
    """Return the folder of a stream's manifests."""
    return f"{EMPTY_MANIFESTS if empty else MANIFESTS}{source}/{stream}/"


def manifest_path(
    source: str, stream: str, day: datetime, connection_id: str, job_id: int, *, empty: bool = False
) -> str:
    """Return the path of one sync's manifest; `day` is the job's creation time, so that a retry makes the same path."""
    return f"{manifests_prefix(source, stream, empty=empty)}{day:%Y%m%d}/{connection_id}-{job_id:012d}.json"


def parse_manifest_path(path: str) -> tuple[str, str, int]:
    """Return source, stream and job id of a manifest's path.

    Raises:
        ValueError: the path is not one of a manifest.
    """
    match = MANIFEST_PATH.fullmatch(path)
    if not match:
        raise ValueError(
            f"{path!r} is not a manifest; expected {MANIFESTS}<source>/<stream>/<day>/<connection>-<job>.json"
        )
    return match[1], match[2], int(match[3])


def erasures_prefix(source: str, stream: str) -> str:
    """Return the folder of the permanently erased keys of a stream."""
    return f"_erased/{source}/{stream}/"


def erasure_path(source: str, stream: str, erasure_id: str) -> str:
    """Return the path of one erasure request; it is never deleted, so that a rebuilt warehouse erases the keys too."""
    return f"{erasures_prefix(source, stream)}{erasure_id}.json"


def open_batch_path(source: str, stream: str) -> str:
    """Return the path of a stream's open batch."""
    return f"_batches/{source}/{stream}/open.json"


def gate_results_path(at: datetime, candidate: str) -> str:
    """Return the path of the gate's results for a candidate until they are rendered; paths are in the order of time."""
    return f"{GATE_RESULTS}{at:%Y%m%dT%H%M%S.%fZ}-{candidate}.json"


def requested_sync_path(run_id: str) -> str:
    """Return the path of the sync that a flow run is about to start."""
    return f"{RESULTS}syncs/{run_id}.requested.json"


def started_sync_path(run_id: str) -> str:
    """Return the path of the sync that a flow run started and has not reported yet."""
    return f"{RESULTS}syncs/{run_id}.json"


def merge_lease_path(source: str, stream: str) -> str:
    """Return the path of the lease of the one process that merges a stream."""
    return f"_batches/{source}/{stream}/lease.json"


def dataflow_job_path(source: str, stream: str) -> str:
    """Return the path of the last submitted Dataflow job of a stream's batch."""
    return f"_batches/{source}/{stream}/dataflow.json"


def staging_prefix(batch_id: str, attempt: str = "") -> str:
    """Return the folder of a batch's staging files, or of one attempt's."""
    return f"_staging/{batch_id}/{attempt}/" if attempt else f"_staging/{batch_id}/"


def quarantine_prefix(source: str, stream: str, batch_id: str) -> str:
    """Return the folder of a batch's quarantined rows."""
    return f"{QUARANTINE}{source}/{stream}/{batch_id}/"


def raw_schema(source: str) -> str:
    """Return the warehouse schema of a source's merged tables."""
    return f"raw_{source}"


def head_table(source: str, stream: str) -> str:
    """Return the one-row table in `ops` that serialises a stream's commits.

    No two streams share it: a source's name has no `__` and does not end with `_`, and a stream's does not begin with
    `_`, so the first `__` after the prefix is the one between them.
    """
    return f"head__{source}__{stream}"


def unchanged_table(source: str, stream: str) -> str:
    """Return the table in `ops` of a stream's rows with unchanged values; unique as `head_table` is."""
    return f"unchanged__{source}__{stream}"


def live_view(stream: str) -> str:
    """Return the view of a stream's live rows."""
    return f"{stream}_live"


def migrating_table(stream: str) -> str:
    """Return the copy of a stream's table that a migration makes beside it."""
    return f"{stream}__migrating"


def mart_resource(mart: str) -> str:
    """Return the resource id of a mart in events."""
    return f"millrace.mart.{mart}"


def stream_resource(source: str, stream: str) -> str:
    """Return the resource id of a stream in events."""
    return f"millrace.stream.{source}.{stream}"


def source_resource(source: str) -> str:
    """Return the resource id of a source in events."""
    return f"millrace.source.{source}"


def secret_resource(secret: str) -> str:
    """Return the resource id of a secret in events."""
    return f"millrace.secret.{secret}"


def merge_work(source: str, stream: str) -> str:
    """Return the name of the runs that merge a stream, without the summary that follows later."""
    return f"merge {source}.{stream}"


def sync_tag(source: str, job_id: int | str = "") -> str:
    """Return the tag of the run that watches a sync; without a job id, what those of a source begin with."""
    return f"{source}.sync-{job_id}"


def merge_slot(source: str, stream: str) -> str:
    """Return the concurrency limit that allows one merge per stream."""
    return f"{MERGE_SLOTS}{source}.{stream}"
