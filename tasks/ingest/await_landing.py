"""Proves that a sync's rows are in the lake, and writes one manifest per stream; the bucket announces it."""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from prefect import task

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import LandingIncomplete, ManifestConflict
from millrace.domain.landing import LandingManifest
from millrace.domain.sync import Landing, Sync
from millrace.lake.store import Lake, ObjectExists
from tasks.context import airbyte_block, open_lake, source_contract
from tasks.ingest.sync_objects import Footers, Found, find_objects, find_stray_objects, newest_generation, sync_ids
from tasks.retries import DELAYS_S, is_transient

log = logging.getLogger(__name__)


@task(
    task_run_name="await landing of {sync.source}, job {sync.job_id}",
    tags=[names.STEP_TAG],
    retries=3,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def await_landing(sync: Sync) -> list[Landing]:
    """Land every stream of an ended sync, whatever its outcome: what a failed one wrote is not sent again.

    Running twice equals running once, by the manifest's path.

    Raises:
        LandingIncomplete: fewer rows than Airbyte reports, after the block's `landing_timeout_s`.
        ManifestConflict: another manifest of this sync names other objects.
    """
    lake = open_lake()
    timeout_s = airbyte_block().landing_timeout_s
    source = source_contract(sync.source)
    contracts = [s for s in source.streams.values() if _lands(s, sync)]
    objects = _wait_for_rows(lake, sync, contracts, timeout_s)
    return [land_stream(lake, sync, s, objects[s.stream], source.epoch, datetime.now(UTC)) for s in contracts]


def _lands(contract: StreamContract, sync: Sync) -> bool:
    return contract.mode != "overwrite" or sync.outcome == "succeeded"


def land_stream(lake: Lake, sync: Sync, contract: StreamContract, found: Found, epoch: int, now: datetime) -> Landing:
    """Write one stream's manifest, or adopt the one that an earlier try wrote."""
    if contract.mode == "overwrite":
        found = newest_generation(found)
    objects = tuple(found)
    manifest = LandingManifest(
        source=sync.source,
        stream=contract.stream,
        connection_id=sync.connection_id,
        job_id=sync.job_id,
        job_created_at=sync.created_at,
        outcome=sync.outcome,
        sync_mode=contract.mode,
        generation_id=max(found.values(), default=0),
        epoch=epoch,
        objects=objects,
        landed_at=now,
    )
    path = names.manifest_path(
        sync.source, contract.stream, sync.created_at, sync.connection_id, sync.job_id, empty=not objects
    )
    _create_once(lake, path, manifest)
    landing = Landing(
        stream=contract.stream,
        manifest=path,
        files=len(objects),
        rows=manifest.rows,
        bytes=sum(o.size for o in objects),
        unreadable=sum(o.rows is None for o in objects),
    )
    log.info("stream.landed", extra={"event": "stream.landed", "fields": landing.model_dump(mode="json")})
    return landing


def _create_once(lake: Lake, path: str, manifest: LandingManifest) -> None:
    try:
        lake.create(path, manifest.model_dump_json(indent=1).encode())
    except ObjectExists:
        there = LandingManifest.model_validate_json(lake.read(path))
        if not there.same_sync(manifest):
            raise ManifestConflict(
                f"{lake.url}/{path} names other objects than sync {manifest.job_id} of {manifest.source}."
                f"{manifest.stream} has; was Airbyte re-installed with its job ids starting over? Raise"
                f" `epoch` in sources/{manifest.source}.yaml and remove the manifest of the sync before"
            ) from None


def _wait_for_rows(lake: Lake, sync: Sync, contracts: Iterable[StreamContract], timeout_s: float) -> dict[str, Found]:
    """Objects of every stream once they hold at least the rows that a succeeded job reports.

    More rows are fine: Airbyte delivers at least once.
    """
    deadline, footers = time.monotonic() + timeout_s, Footers()
    streams = sorted({*sync.sync_modes, *(c.stream for c in contracts)})
    while True:
        objects = _look(lake, sync, streams, footers)
        landed = [o for found in objects.values() for o in found]
        rows, unreadable = sum(o.rows or 0 for o in landed), any(o.rows is None for o in landed)
        if sync.outcome != "succeeded" or unreadable or rows >= (sync.rows or 0):
            return objects
        if time.monotonic() > deadline:
            raise LandingIncomplete(
                f"sync {sync.job_id} of {sync.source}: {rows:,} of {sync.rows:,} rows under"
                f" {lake.url}/{names.RAW}{sync.source}/*/sync_id={sync.job_id}/ after {timeout_s:.0f} s;"
                " look at the Airbyte job's log and at the destination's path format"
            )
        time.sleep(min(1.0, timeout_s / 10))


def _look(lake: Lake, sync: Sync, streams: Iterable[str], footers: Footers) -> dict[str, Found]:
    """What the sync wrote until now of each stream, those included that have no contract: Airbyte counts them too."""
    objects = {s: find_objects(lake, sync.source, s, sync.job_id, footers) for s in streams}
    if sync.rows != 0 and not any(objects.values()):
        objects = {s: find_stray_objects(lake, s, sync, footers) for s in streams}
        if any(objects.values()):
            ids = sync_ids(o for found in objects.values() for o in found)
            fields = {"source": sync.source, "job_id": sync.job_id, "sync_ids": ids}
            log.warning("landing.other_path", extra={"event": "landing.other_path", "fields": fields})
    return objects
