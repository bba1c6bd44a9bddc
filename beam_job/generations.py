"""A manifest of a cdc or append stream in, Airbyte's generation of its rows out; a generation in, its syncs out.

A manifest tells its generation, or else its first readable file does.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from beam_job.steps.files import DataFile
from beam_job.steps.rows import GENERATION_ID, column_types
from beam_job.steps.versions import lowest_generation
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, BatchObject, min_version, split_version
from millrace.domain.errors import FileRejected
from millrace.domain.landing import LandedObject, LandingManifest
from millrace.lake.jobs import MONTH
from millrace.lake.manifests import list_manifests, read_manifest
from millrace.lake.store import Lake
from millrace.warehouse.port import Warehouse

Key = tuple[str, int]  # the name of an object, and its generation in the lake
MOST_TRIED = 20  # files of one sync that are read to find its generation


def generation_of(lake: Lake, contract: StreamContract, manifest: LandingManifest, first: Key | None = None) -> int:
    """Return Airbyte's generation of a sync, by its manifest or else by its first readable file; 0 if none tells."""
    if manifest.generation_id:
        return manifest.generation_id
    objects = sorted(manifest.objects, key=lambda o: (o.name, o.generation) != first)
    return next((number for o in objects[:MOST_TRIED] for number in _read_numbers(lake, contract, manifest, o)), 0)


def _read_numbers(
    lake: Lake, contract: StreamContract, manifest: LandingManifest, landed: LandedObject
) -> Iterator[int]:
    """Yield the lowest generation of each part of a file; none if the file can't be read."""
    obj = BatchObject(**landed.model_dump(), job_id=manifest.job_id, epoch=manifest.epoch, generation_id=0)
    try:
        for _, table in DataFile(lake, obj, column_types(contract)).chunks([GENERATION_ID]):
            if table.num_rows:
                yield lowest_generation(table, contract, obj)
    except FileRejected:
        return


def floor_of(lake: Lake, contract: StreamContract, connections: Iterable[str], snapshot: str) -> str:
    """Return the lowest version of a generation's rows: those that it had before its connection's epoch was raised.

    The same number in another connection is another generation.
    """
    epoch, number = split_version(snapshot)
    if not epoch:
        return snapshot
    return min_version(min([epoch, *(_first(lake, contract, c, epoch, number) for c in sorted(connections))]), number)


def _first(lake: Lake, contract: StreamContract, connection: str, epoch: int, number: int) -> int:
    """Return the epoch in which a generation of a connection began; a connection's epochs and generations only rise."""
    own = re.compile(rf".*/{re.escape(connection)}-\d+\.json")
    paths = [path for path in list_manifests(lake, contract.source, contract.stream) if own.fullmatch(path)]
    while (before := bisect_left(paths, epoch, key=lambda path: read_manifest(lake, path).epoch)) > 0:
        manifest = read_manifest(lake, paths[before - 1])
        if generation_of(lake, contract, manifest) != number:
            break
        epoch = manifest.epoch
    return epoch


@dataclass(frozen=True)
class Span:
    """The time of a generation's first job, and of the first that read it to its end; None if no such job is known."""

    began: datetime | None
    ended: datetime | None

    def contains(self, created_at: datetime, *, known: bool) -> bool:
        """Return whether a job can have rows that the generation was read from, if its generation is `known` or not.

        Later jobs bring changes alone: a key that only they have was not in the source when it was read.
        """
        early = not known and self.began is not None and created_at < self.began
        return not early and (self.ended is None or created_at <= self.ended)


def read_manifests(lake: Lake, contract: StreamContract) -> list[LandingManifest]:
    """Return all manifests of a stream."""
    return [read_manifest(lake, path) for path in list_manifests(lake, contract.source, contract.stream)]


def span_of(
    lake: Lake, warehouse: Warehouse, contract: StreamContract, batch: Batch, snapshot: str, floor: str
) -> Span:
    """Return the time in which a generation was read, as far as its syncs are merged or in the batch."""
    (last, number), (first, _) = split_version(snapshot), split_version(floor)
    syncs = list(_syncs(lake, contract, (first, last), number))
    whole = [m for m in syncs if m.outcome == "succeeded" and contract.removes_older(m.older_removed)]
    merged = merged_of(warehouse, contract, batch, whole)
    return Span(
        min((m.job_created_at for m in syncs), default=None), min((m.job_created_at for m in merged), default=None)
    )


def is_later(lake: Lake, warehouse: Warehouse, contract: StreamContract, batch: Batch, created_at: datetime) -> bool:
    """Return whether the generation of the batch's floor was read to its end before a job, by the syncs of a month.

    That spares nearly all batches the look at the whole history of the stream.
    """
    epoch, number = split_version(batch.floor)
    for path in reversed(list_manifests(lake, contract.source, contract.stream, f"{created_at - MONTH:%Y%m%d}")):
        manifest = read_manifest(lake, path)
        ended = manifest.outcome == "succeeded" and contract.removes_older(manifest.older_removed)
        before = ended and manifest.epoch >= epoch and manifest.job_created_at < created_at
        own = before and generation_of(lake, contract, manifest) == number
        if own and merged_of(warehouse, contract, batch, [manifest]):
            return True
    return False


def _syncs(lake: Lake, contract: StreamContract, epochs: tuple[int, int], number: int) -> Iterator[LandingManifest]:
    """Yield the manifests of a generation within epochs."""
    for manifest in read_manifests(lake, contract):
        if epochs[0] <= manifest.epoch <= epochs[1] and generation_of(lake, contract, manifest) == number:
            yield manifest


def merged_of(
    warehouse: Warehouse, contract: StreamContract, batch: Batch, manifests: list[LandingManifest]
) -> list[LandingManifest]:
    """Return the manifests of which all objects are merged or in the batch."""
    pairs = [(o.name, o.generation) for m in manifests for o in m.objects]
    objects = {(o.name, o.generation) for o in batch.objects}
    objects |= warehouse.merged_objects(contract, pairs) if pairs else set()
    return [m for m in manifests if all((o.name, o.generation) in objects for o in m.objects)]
