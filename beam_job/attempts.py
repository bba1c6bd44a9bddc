"""A batch in, its staged rows out; the steps run again when a file is rejected or brings a new column."""

import logging
import uuid
from collections.abc import Callable, Collection

from beam_job.reports import Report, Reports, check_counts, discard, log_unbalanced, read_reports
from beam_job.snapshots import lowest_version, whole_generations
from beam_job.stale import highest_versions
from beam_job.steps.drift import describe_drift, evolve
from beam_job.steps.read import reject_too_many
from beam_job.steps.reasons import with_advice
from beam_job.steps.unchanged import stages_every_upsert, with_every_upsert
from beam_job.steps.work import quarantine_path
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, BatchObject, Drift, QuarantinedRow, Staged
from millrace.domain.errors import BalanceError, FileRejected, StagingLost
from millrace.lake.store import Lake
from millrace.observability.events import log_event

log = logging.getLogger(__name__)

QUARANTINE_SAMPLE = 5
Run = Callable[[StreamContract, dict[int, str], str], None]
Resumes = Callable[[StreamContract, dict[int, str]], str]


def never_resumes(_contract: StreamContract, _rejected: dict[int, str]) -> str:
    """Return no attempt: nothing runs elsewhere that could be resumed."""
    return ""


def new_attempt() -> str:
    """Return a unique name for an attempt."""
    return uuid.uuid4().hex[:12]


def stage(
    lake: Lake,
    contract: StreamContract,
    batch: Batch,
    run: Run,
    resumes: Resumes = never_resumes,
    name_attempt: Callable[[], str] = new_attempt,
) -> Staged:
    """Run the steps until no file is rejected and no column is new; few batches take more than one attempt.

    If a winner has unchanged values, the next attempts stage every upsert.

    `run` gets the contract with the columns that files brought, the reasons of objects to quarantine, by index, and the
    attempt's name. `resumes` returns the attempt that already runs elsewhere with the same contract and objects, or "".

    Raises:
        StagingLost: reports or files of the attempt are gone; stage again.
        BalanceError: the steps' counts do not add up.
    """
    rejected: dict[int, str] = {}
    before = evolved = contract.with_columns(batch.learned)
    leftovers: set[str] = set()
    every = False
    while True:
        attempt = resumes(evolved, rejected) or (with_every_upsert(name_attempt()) if every else name_attempt())
        run(evolved, rejected, attempt)
        reports = _read_or_discard(lake, batch, attempt)
        broken = find_broken(reports)
        lost = broken | find_refused(reports, rejected)
        kept = [report["drift"] for index, report in reports.objects.items() if index not in lost]
        grown = evolve(before if lost else evolved, kept)  # what a refused file brought is forgotten
        lacking = bool(find_unchanged(reports)) and not stages_every_upsert(attempt)
        if not broken and grown == evolved and not lacking:
            break
        every = every or lacking
        leftovers |= _quarantine_paths(reports)
        discard(lake, batch, attempt)
        rejected |= lost  # their rows took part in choosing winners: choose again without them
        evolved = grown
    for name in leftovers - _quarantine_paths(reports):
        lake.delete(name)
    try:
        check_counts(reports)
    except BalanceError as error:
        log_unbalanced(batch, error)
        raise
    staged = collect(contract, evolved, reports).model_copy(
        update={"every_upsert": stages_every_upsert(attempt), "unchanged": find_unchanged(reports)}
    )
    _log_staged(batch, staged)
    return staged


def _read_or_discard(lake: Lake, batch: Batch, attempt: str) -> Reports:
    """Read the attempt's reports; if some are lost, delete its files and raise StagingLost."""
    try:
        return read_reports(lake, batch, attempt)
    except StagingLost:
        discard(lake, batch, attempt)
        raise


def _log_staged(batch: Batch, staged: Staged) -> None:
    """Log the staged batch, and the first of its quarantined rows and files."""
    for row in staged.quarantined[:QUARANTINE_SAMPLE]:
        event = "quarantine.file" if row.row is None else "quarantine.rows"
        log_event(log, logging.WARNING, event, row.detail, **row.model_dump())
    log_event(
        log,
        logging.INFO,
        "merge.staged",
        batch_id=batch.id,
        rows_in=staged.rows_in,
        superseded=staged.superseded,
        quarantined=sum(q.rows for q in staged.quarantined),
        files=len(batch.objects),
    )


def find_unchanged(reports: Reports) -> tuple[str, ...]:
    """Return the columns in which staged upserts have a text that stands for an unchanged value."""
    return tuple(sorted({name for report in reports.staged.values() for name in report.get("unchanged", ())}))


def _quarantine_paths(reports: Reports) -> set[str]:
    """Return the files that an attempt wrote to the quarantine."""
    return {
        quarantine_path(reports.batch, kind, index)
        for index, report in reports.objects.items()
        for kind in {"files" if row["row"] is None else "rows" for row in report["quarantined"]}
    }


def find_broken(reports: Reports) -> dict[int, str]:
    """Return the reasons of objects to quarantine, by index: unreadable ones, and parts and siblings of them.

    A file in parts is also broken by its invalid rows, if all its parts together have too many of them.
    """
    broken = reports.broken_objects | _find_too_many(reports)
    return _find_siblings_of_vanished(reports.batch, broken) | broken | _find_parts_of_broken(reports.batch, broken)


def find_refused(reports: Reports, known: Collection[int]) -> dict[int, str]:
    """Return the reasons of quarantined objects that no wider type cures, by index, without those that are known."""
    return {
        index: f"{row['reason']}: {row['detail']}"
        for index, report in reports.objects.items()
        for row in report["quarantined"]
        if row["row"] is None and not report["drift"] and index not in known
    }


def _find_siblings_of_vanished(batch: Batch, broken: dict[int, str]) -> dict[int, str]:
    """Return objects of the same manifests as vanished ones: their manifests may be wrong about them as well."""
    gone = {
        _manifest_of(batch.objects[index]): batch.objects[index].name
        for index in sorted(broken)
        if broken[index].startswith("file.missing")
    }
    return {
        index: f"manifest.broken: {o.name}: sync {o.job_id} also wrote {gone[_manifest_of(o)]}, which is gone"
        for index, o in enumerate(batch.objects)
        if _manifest_of(o) in gone
    }


def _find_parts_of_broken(batch: Batch, broken: dict[int, str]) -> dict[int, str]:
    """Return the parts of files of which one part is broken: a file is quarantined as a whole, for its first fault."""
    reasons: dict[tuple[str, int], str] = {}
    for index in sorted(broken):
        if (obj := batch.objects[index]).is_part:
            reasons.setdefault((obj.name, obj.generation), broken[index])
    return {n: reasons[key] for n, o in enumerate(batch.objects) if (key := (o.name, o.generation)) in reasons}


def _find_too_many(reports: Reports) -> dict[int, str]:
    """Return the reasons of parts with which their files have more invalid rows than one file may have."""
    invalid: dict[tuple[str, int], dict[int, tuple[str, str]]] = {}
    broken: dict[int, str] = {}
    for index, report in sorted(reports.objects.items()):
        obj = reports.batch.objects[index]
        if obj.is_part:
            reasons = invalid.setdefault((obj.name, obj.generation), {})
            for q in report["quarantined"]:
                if q["row"] is not None:
                    reasons[q["row"]] = (q["reason"], q["detail"])
            try:
                reject_too_many(obj.name, reasons)
            except FileRejected as error:
                broken[index] = str(error)
    return broken


def _manifest_of(obj: BatchObject) -> tuple[str, int]:
    """Identify an object's manifest, by its job if an older version of the platform opened the batch."""
    return ("job", obj.job_id) if obj.manifest is None else ("manifest", obj.manifest)


def collect(contract: StreamContract, evolved: StreamContract, reports: Reports) -> Staged:
    """Return the staged batch of an attempt; `rows_in` comes from the manifests, where they have counts."""
    batch, reads = reports.batch, reports.objects
    blocked = find_blocked(batch, reads) if contract.mode == "overwrite" else {}
    whole = tuple(sorted({*batch.snapshots, *whole_generations(batch, reads)} - set(blocked)))
    floor, newest = max(whole, default=""), max(blocked, default="")
    kept = [(path, batch.objects[index].min_version) for index, path in reports.kept_files()]
    kept = [(path, snapshot) for path, snapshot in kept if snapshot in whole]
    return Staged(
        batch_id=batch.id,
        attempt=reports.attempt,
        upserts=tuple(reports.paths("upserts", batch.staging)),
        deletes=tuple(reports.paths("deletes", batch.staging)),
        rows_in=_rows_in(batch, reads),
        superseded=_superseded(reports),
        quarantined=tuple(
            with_advice(QuarantinedRow.model_validate(q), contract) for r in reads.values() for q in r["quarantined"]
        ),
        columns={n: c for n, c in evolved.columns.items() if contract.columns.get(n) != c},
        drift=_drift(contract, evolved, reports),
        kept=tuple(path for path, _ in kept),
        kept_by=tuple(snapshot for _, snapshot in kept),
        snapshots=whole,
        floor=floor,
        blocked=blocked[newest] if newest > floor else "",
        lowest=lowest_version(contract, batch, reads),
        generations=highest_versions(batch, reads),
    )


def _rows_in(batch: Batch, reads: dict[int, Report]) -> int:
    return sum(int(reads[index]["rows"]) if o.rows is None else o.rows for index, o in enumerate(batch.objects))


def _superseded(reports: Reports) -> int:
    """Count the rows that lost within the batch, and those that the contract ignores."""
    losers: int = sum(shard["rows"] - shard["winners"] for shard in reports.shard.values())
    ignored: int = sum(report["ignored"] for report in reports.objects.values())
    return losers + ignored


def _drift(contract: StreamContract, evolved: StreamContract, reports: Reports) -> tuple[Drift, ...]:
    """Return the columns of the batch that differ from the contract and from those of earlier batches."""
    before = contract.with_columns(reports.batch.learned)
    reads = reports.objects.values()
    lost = {name for report in reads for name in report.get("lost", ())} & set(contract.columns)
    return tuple(describe_drift(before, evolved, [report["drift"] for report in reads], lost))


def find_blocked(batch: Batch, reads: dict[int, Report]) -> dict[str, str]:
    """Return the reasons of snapshots with an unreadable file or key: their absent keys are unknown."""
    blocked = {}
    for index, report in reads.items():
        obj = batch.objects[index]
        unread = [q["reason"] for q in report["quarantined"] if q["row"] is None]
        if obj.min_version in batch.snapshots and (unread or report.get("unkeyed")):
            reason = unread[0] if unread else f"{report['unkeyed']} rows without a key"
            blocked[obj.min_version] = f"{obj.name}: {reason}"
    return blocked
