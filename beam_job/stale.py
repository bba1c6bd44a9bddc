"""A committed batch in; a sentence out if the rows of its newest sync are stale because the stream started over.

The newest sync is one without a later job in the lake: an old one that arrives late is stale by right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from beam_job.generations import generation_of
from beam_job.reports import Report
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance, Batch, Staged, min_version, split_version
from millrace.domain.epochs import is_copy
from millrace.domain.landing import LandingManifest
from millrace.lake.jobs import MONTH, has_later, newest_earlier
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake

STORM_SHARE, STORM_ROWS = 0.5, 100


@dataclass(frozen=True, order=True)
class BatchSync:
    """One sync of a batch, with connection epoch and Airbyte's generation of its rows."""

    created_at: datetime
    job_id: int
    manifest: int
    epoch: int
    generation: int


def highest_versions(batch: Batch, reads: Mapping[int, Report]) -> dict[int, str]:
    """Return the lowest version of the newest generation of each sync's rows, by the number of its manifest."""
    highest: dict[int, str] = {}
    for index, report in reads.items():
        o, generation = batch.objects[index], int(report.get("generation", 0))
        if generation and o.manifest is not None and report["rows"] > report["ignored"]:
            highest[o.manifest] = max(highest.get(o.manifest, ""), min_version(o.epoch, generation))
    return highest


def explain_stale(lake: Lake, contract: StreamContract, batch: Batch, staged: Staged, balance: Balance) -> str:
    """Return a sentence if the newest rows of the stream are older than its table, with the command that mends it."""
    syncs = _syncs(batch, staged)
    mostly = balance.stale > STORM_SHARE * balance.rows_in
    newer = _newer_generation(lake, contract, batch, syncs, look=mostly) if syncs else 0
    if not newer and not (mostly and balance.rows_in >= STORM_ROWS):
        return ""
    newest = max((o.job_created_at for o in batch.objects if o.job_created_at), default=batch.opened_at)
    if has_later(lake, contract.source, contract.stream, newest):
        return ""
    if not newer:
        return (
            f"{balance.stale} of {balance.rows_in} rows of {contract.id} are older than the table; if the source was"
            f" restored or its log started over, run `millrace raise-epoch {contract.id} --from-job <the first job"
            " after that>`"
        )
    job, generation, first = syncs[-1].job_id, syncs[-1].generation, _first_job(lake, contract, batch, syncs)
    return (
        f"job {job} of {contract.id} has Airbyte's generation {generation}, rows of older jobs have {newer}, as after"
        f" a connection was created again: {balance.stale} of {balance.rows_in} rows of its batch were stale and"
        f" {balance.superseded} superseded, and later syncs will fare the same; run `millrace raise-epoch {contract.id}"
        f" --from-job {first}`"
    )


def _syncs(batch: Batch, staged: Staged) -> list[BatchSync]:
    """Return the syncs of the batch whose generations are known, in the order of their jobs."""
    created = {o.manifest: (o.job_created_at or batch.opened_at, o.job_id) for o in batch.objects}
    return sorted(
        BatchSync(*created[number], number, *split_version(version)) for number, version in staged.generations.items()
    )


def _newer_generation(lake: Lake, contract: StreamContract, batch: Batch, syncs: list[BatchSync], *, look: bool) -> int:
    """Return the generation of older jobs' rows if it is above that of the newest sync, else 0.

    `look` at the manifest of the job before if neither the batch nor the head of the stream has such a generation.
    """
    newest = syncs[-1]
    known = {(sync.epoch, sync.generation) for sync in syncs} | ({split_version(batch.floor)} if batch.floor else set())
    if look and not any(epoch == newest.epoch and g > newest.generation for epoch, g in known):
        earlier = newest_earlier(lake, contract.source, contract.stream, syncs[0].created_at)
        known |= {(earlier.epoch, generation_of(lake, contract, earlier))} if earlier else set()
    return max((g for epoch, g in known if epoch == newest.epoch and g > newest.generation), default=0)


def _first_job(lake: Lake, contract: StreamContract, batch: Batch, syncs: list[BatchSync]) -> int:
    """Return the first job after the stream started over: the oldest of its connection up to the newest generation."""
    newest = syncs[-1]
    connection = read_manifest(lake, batch.manifests[newest.manifest]).connection_id
    known = {sync.job_id: sync.generation for sync in syncs}
    since = f"{newest.created_at - MONTH:%Y%m%d}"
    paths = (p for p in list_manifests(lake, contract.source, contract.stream, since) if not is_copy(p))
    manifests = [m for p in paths if (m := read_manifest(lake, p)).job_created_at <= newest.created_at]
    first = newest.job_id
    for manifest in sorted(manifests, key=lambda m: m.job_created_at, reverse=True):
        if not _is_same_start(manifest, connection, newest, known.get(manifest.job_id, manifest.generation_id)):
            break
        first = manifest.job_id
    return first


def _is_same_start(manifest: LandingManifest, connection: str, newest: BatchSync, generation: int) -> bool:
    """Return whether a manifest is of the newest sync's connection, epoch and history of generations."""
    same = (manifest.connection_id, manifest.epoch) == (connection, newest.epoch)
    return same and 0 < generation <= newest.generation
