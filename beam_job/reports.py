"""An attempt to stage a batch in; all of its reports out, or an error if one or a file is missing."""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from beam_job.steps.units import units
from millrace.domain import names
from millrace.domain.batch import Batch
from millrace.domain.errors import BalanceError, ObjectMissing, StagingLost
from millrace.lake.store import Lake
from millrace.observability.events import log_event

log = logging.getLogger(__name__)

Report = dict[str, Any]
REPORT = re.compile(r"(read|shard|staged|broken)-(\d+)\.json")


@dataclass(frozen=True)
class Reports:
    """Reports by number, one per unit (`read`, and `staged` or `broken`) and one per shard, and the other files."""

    batch: Batch
    attempt: str
    read: dict[int, Report] = field(default_factory=dict)
    shard: dict[int, Report] = field(default_factory=dict)
    staged: dict[int, Report] = field(default_factory=dict)
    broken: dict[int, Report] = field(default_factory=dict)
    files: frozenset[str] = frozenset()

    @property
    def objects(self) -> dict[int, Report]:
        """Return the counts of each object that could be read or was replaced, by its index in the batch."""
        read = {int(index): counts for unit in self.read.values() for index, counts in unit["objects"].items()}
        return self._replaced | read

    @property
    def broken_objects(self) -> dict[int, str]:
        """Return the reasons of objects whose rows could not be read, by index."""
        reports = [*self.read.values(), *self.broken.values()]
        broken = {int(index): str(reason) for report in reports for index, reason in report["broken"].items()}
        return {index: reason for index, reason in broken.items() if index not in self._replaced}

    @cached_property
    def _replaced(self) -> dict[int, Report]:
        """Return counts of objects that were gone before they were read, as a newer generation replaced them."""
        gone = {
            int(index)
            for unit in self.read.values()
            for index, reason in unit["broken"].items()
            if str(reason).startswith("file.missing") and self.batch.objects[int(index)].replaced
        }
        rows = {index: self.batch.objects[index].rows or 0 for index in gone}
        return {n: {"rows": count, "ignored": count, "quarantined": [], "drift": {}} for n, count in rows.items()}

    def paths(self, kind: str, ending: str) -> list[str]:
        """Return the files with rows of a kind according to the reports, ordered by their numbers."""
        numbers = sorted(number for number, report in self.staged.items() if report.get(kind))
        return [f"{names.staging_prefix(self.batch.id, self.attempt)}{kind}-{n:05d}.{ending}" for n in numbers]

    def kept_files(self) -> list[tuple[int, str]]:
        """Return the files with keys of quarantined rows, each with its object's index in the batch."""
        prefix = f"{names.staging_prefix(self.batch.id, self.attempt)}keep-"
        indexes = sorted(index for index, report in self.objects.items() if report.get("kept"))
        return [(index, f"{prefix}{index:05d}.parquet") for index in indexes]


def read_reports(lake: Lake, batch: Batch, attempt: str) -> Reports:
    """Read all reports of an attempt.

    Raises:
        StagingLost: reports or files are gone, or were never written.
    """
    prefix = names.staging_prefix(batch.id, attempt)
    kinds: dict[str, dict[int, Report]] = {"read": {}, "shard": {}, "staged": {}, "broken": {}}
    files = set()
    for info in lake.list(prefix):
        if report := REPORT.fullmatch(info.name.removeprefix(prefix)):
            kinds[report[1]][int(report[2])] = _read(lake, batch, attempt, info.name)
        else:
            files.add(info.name)
    reports = Reports(batch, attempt, **kinds, files=frozenset(files))
    _require_all(reports)
    return reports


def discard(lake: Lake, batch: Batch, attempt: str = "") -> None:
    """Delete the staging files of an attempt, or of all attempts of a batch."""
    for info in lake.list(names.staging_prefix(batch.id, attempt)):
        lake.delete(info.name)


def _read(lake: Lake, batch: Batch, attempt: str, name: str) -> Report:
    try:
        return dict(json.loads(lake.read(name)))
    except ObjectMissing as error:
        raise _lost(batch, attempt, [name]) from error


def _require_all(reports: Reports) -> None:
    """Require every report and file that the batch and the other reports refer to."""
    batch, broken = reports.batch, reports.broken_objects
    shards = {shard for unit in reports.read.values() for shard in unit["shards"]}
    written = {unit for shard in reports.shard.values() for unit in shard["units"]} - set(reports.broken)
    paths = [*reports.paths("upserts", batch.staging), *reports.paths("deletes", batch.staging)]
    gone = [
        *_missing("read", (unit.number for unit in units(batch)), reports.read),
        *_missing("object", range(len(batch.objects)), reports.objects | broken),
        *_missing("shard", shards, reports.shard),
        *_missing("staged", written, reports.staged),
        *sorted({*paths, *(path for _, path in reports.kept_files())} - reports.files),
    ]
    if gone:
        raise _lost(batch, reports.attempt, gone)


def _missing(kind: str, expected: Iterable[int], reports: Iterable[int]) -> list[str]:
    return [f"{kind}-{number:05d}" for number in sorted(set(expected) - set(reports))]


def _lost(batch: Batch, attempt: str, gone: list[str]) -> StagingLost:
    return StagingLost(
        f"batch {batch.id}: {len(gone)} reports or files of attempt {attempt} are gone, {gone[0]} first; another merge"
        " of the stream closed the batch, or something deletes objects below _staging/; merge the stream again"
    )


def log_unbalanced(batch: Batch, error: BalanceError) -> None:
    """Log an incident: the rows of a batch do not add up."""
    stream = f"{batch.source}.{batch.stream}"
    log_event(log, logging.ERROR, "merge.unbalanced", str(error), batch_id=batch.id, stream=stream)


def check_counts(reports: Reports) -> None:
    """Compare the counts of the steps with each other and with the manifests.

    Raises:
        BalanceError: names the first count that differs.
    """
    batch, objects = reports.batch, reports.objects
    for index, report in objects.items():
        expected = batch.objects[index].rows
        if expected not in (None, report["rows"]):
            raise BalanceError(
                f"batch {batch.id}: {batch.objects[index].name} has {expected} rows by its manifest,"
                f" but {report['rows']} were counted; nothing was committed"
            )
    valid = sum(r["rows"] - r["ignored"] - sum(q["rows"] for q in r["quarantined"]) for r in objects.values())
    compared = sum(shard["rows"] for shard in reports.shard.values())
    winners = sum(shard["winners"] for shard in reports.shard.values())
    staged = sum(unit["upserts"] + unit["deletes"] for unit in reports.staged.values())
    if (valid, winners) != (compared, staged):
        raise BalanceError(
            f"batch {batch.id}: {valid} valid rows were read and {compared} compared, {winners} won and {staged} were"
            " staged; nothing was committed"
        )
