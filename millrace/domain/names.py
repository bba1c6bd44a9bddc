"""Every name that two places must agree on is built here, once."""

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
SITE = "_site/"
STATUS_PAGE = f"{SITE}status/index.html"
STATUS_SYNCS = f"{SITE}status/syncs.json"

AUDITED = "_batches/audited"

STEP_TAG = "step"

MODEL_SLOT = "model"
MERGE_SLOTS = "merge."

MANIFEST_PATH = re.compile(
    r"(?:_manifests|_manifests_empty)/([a-z][a-z0-9_]{0,62})/([a-z][a-z0-9_]{0,62})/\d{8}/[^/]+-(\d+)\.json"
)


def dead_letter_topic(topic: str) -> str:
    """Topic that takes what `topic` could not deliver."""
    return f"{topic}-dead"


def dead_letter_subscription(topic: str) -> str:
    """Pull subscription that keeps what `topic` could not deliver."""
    return f"{topic}-dead-pull"


def gateway_subscription(topic: str) -> str:
    """Push subscription through which the gateway hears of `topic`."""
    return f"{topic}-gateway"


def pull_subscription(topic: str) -> str:
    """Pull subscription through which a gateway in a private cluster hears of `topic`; instead of the push one."""
    return f"{topic}-gateway-pull"


def raw_prefix(source: str, stream: str) -> str:
    """Folder of a stream's objects."""
    return f"{RAW}{source}/{stream}/"


def sync_prefix(source: str, stream: str, job_id: int) -> str:
    """Folder of the objects that one sync wrote."""
    return f"{raw_prefix(source, stream)}sync_id={job_id}/"


def manifests_prefix(source: str, stream: str, *, empty: bool = False) -> str:
    """Folder of a stream's manifests."""
    return f"{EMPTY_MANIFESTS if empty else MANIFESTS}{source}/{stream}/"


def manifest_path(
    source: str, stream: str, day: datetime, connection_id: str, job_id: int, *, empty: bool = False
) -> str:
    """Path of one sync's manifest; `day` is the job's creation, so that a retry makes the same path."""
    return f"{manifests_prefix(source, stream, empty=empty)}{day:%Y%m%d}/{connection_id}-{job_id:012d}.json"


def parse_manifest_path(path: str) -> tuple[str, str, int]:
    """Source, stream and job id of a manifest's path.

    Raises:
        ValueError: it is no such path.
    """
    match = MANIFEST_PATH.fullmatch(path)
    if not match:
        raise ValueError(
            f"{path!r} is no manifest; expected {MANIFESTS}<source>/<stream>/<day>/<connection>-<job>.json"
        )
    return match[1], match[2], int(match[3])


def erasures_prefix(source: str, stream: str) -> str:
    """Folder of the keys of a stream that are erased for good."""
    return f"_erased/{source}/{stream}/"


def erasure_path(source: str, stream: str, erasure_id: str) -> str:
    """One request to erase keys; it stays, so that a warehouse that is built anew erases them too."""
    return f"{erasures_prefix(source, stream)}{erasure_id}.json"


def open_batch_path(source: str, stream: str) -> str:
    """The one batch of a stream that is under way."""
    return f"_batches/{source}/{stream}/open.json"


def requested_sync_path(run_id: str) -> str:
    """The sync that a flow run is about to start."""
    return f"{RESULTS}syncs/{run_id}.requested.json"


def started_sync_path(run_id: str) -> str:
    """The sync that a flow run started and has not reported yet."""
    return f"{RESULTS}syncs/{run_id}.json"


def merge_lease_path(source: str, stream: str) -> str:
    """Lease of the one process that merges a stream."""
    return f"_batches/{source}/{stream}/lease.json"


def dataflow_job_path(source: str, stream: str) -> str:
    """The Dataflow job of a stream's batch that was submitted last."""
    return f"_batches/{source}/{stream}/dataflow.json"


def staging_prefix(batch_id: str, attempt: str = "") -> str:
    """Folder of a batch's staging files, or of those of one attempt to stage it."""
    return f"_staging/{batch_id}/{attempt}/" if attempt else f"_staging/{batch_id}/"


def quarantine_prefix(source: str, stream: str, batch_id: str) -> str:
    """Folder of the rows that a batch refused."""
    return f"{QUARANTINE}{source}/{stream}/{batch_id}/"


def raw_schema(source: str) -> str:
    """Warehouse schema of a source's merged tables."""
    return f"raw_{source}"


def head_table(source: str, stream: str) -> str:
    """One-row table in `ops` that serialises a stream's commits."""
    return f"head__{source}__{stream}"


def live_view(stream: str) -> str:
    """View of a stream's live rows."""
    return f"{stream}_live"


def stream_resource(source: str, stream: str) -> str:
    """Resource id of a stream in events."""
    return f"millrace.stream.{source}.{stream}"


def source_resource(source: str) -> str:
    """Resource id of a source in events."""
    return f"millrace.source.{source}"


def secret_resource(secret: str) -> str:
    """Resource id of a secret in events."""
    return f"millrace.secret.{secret}"


def merge_work(source: str, stream: str) -> str:
    """Name of the runs that merge a stream, before they tell what they did."""
    return f"merge {source}.{stream}"


def merge_slot(source: str, stream: str) -> str:
    """Concurrency limit that lets one merge per stream run."""
    return f"{MERGE_SLOTS}{source}.{stream}"
