"""Attempts to stage a batch: each runs the steps anew when a file broke or brought a column; the staged batch out."""

import logging
import uuid
from collections.abc import Callable

from beam_job.reports import Report, Reports, check_counts, discard, log_unbalanced, read_reports
from beam_job.steps.drift import evolve, tell
from beam_job.steps.work import refused_path
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Batch, QuarantinedRow, Staged
from millrace.domain.errors import BalanceError, StagingLost
from millrace.lake.store import Lake

log = logging.getLogger(__name__)

QUARANTINE_SAMPLE = 5
Run = Callable[[StreamContract, dict[int, str], str], None]
Resumes = Callable[[StreamContract, dict[int, str]], str]


def never_resumes(_known: StreamContract, _rejected: dict[int, str]) -> str:
    """A run that never goes on where another one was."""
    return ""


def new_attempt() -> str:
    """Name of an attempt, which no other has."""
    return uuid.uuid4().hex[:12]


def stage(
    lake: Lake,
    contract: StreamContract,
    batch: Batch,
    run: Run,
    resumes: Resumes = never_resumes,
    name_attempt: Callable[[], str] = new_attempt,
) -> Staged:
    """Run the steps until no file breaks and no column is news; a further attempt is as rare as such a file.

    `run` is told the contract, with columns that files brought, which objects to refuse, by place, and why, and the
    attempt's name. Where work for just that is under way elsewhere, `resumes` gives the name of its attempt.

    Raises:
        StagingLost: reports or files of the attempt are gone; stage again.
        BalanceError: the steps' counts do not add up.
    """
    rejected: dict[int, str] = {}
    known = contract.with_columns(batch.learned)
    refused: set[str] = set()
    while True:
        attempt = resumes(known, rejected) or name_attempt()
        run(known, rejected, attempt)
        try:
            reports = read_reports(lake, batch, attempt)
        except StagingLost:
            discard(lake, batch, attempt)
            raise
        broken = find_broken(reports)
        grown = evolve(known, [r["drift"] for r in reports.objects.values()])
        if not broken and grown == known:
            break
        refused |= _refused_paths(reports)
        discard(lake, batch, attempt)
        rejected |= broken  # its rows took part in choosing winners: choose again without them
        known = grown
    for name in refused - _refused_paths(reports):
        lake.delete(name)
    try:
        check_counts(reports)
    except BalanceError as error:
        log_unbalanced(batch, error)
        raise
    staged = collect(contract, known, reports)
    fields = {
        "batch_id": batch.id,
        "rows_in": staged.rows_in,
        "superseded": staged.superseded,
        "quarantined": sum(q.rows for q in staged.quarantined),
        "files": len(batch.objects),
    }
    log.info("merge.staged", extra={"event": "merge.staged", "fields": fields})
    return staged


def _refused_paths(reports: Reports) -> set[str]:
    """Files of the quarantine that an attempt wrote."""
    return {
        refused_path(reports.batch, "files" if row is None else "rows", place)
        for place, report in reports.objects.items()
        for row in {q["row"] if q["row"] is None else 0 for q in report["quarantined"]}
    }


def find_broken(reports: Reports) -> dict[int, str]:
    """Objects to refuse, by place, with the reason: those that broke, and those of the same syncs as vanished ones."""
    return _spoiled(reports.batch, reports.broken_objects) | reports.broken_objects


def _spoiled(batch: Batch, broken: dict[int, str]) -> dict[int, str]:
    """Objects of the same syncs as those that vanished: what a manifest says of them may be wrong as well."""
    gone = {
        batch.objects[place].job_id: batch.objects[place].name
        for place in sorted(broken)
        if broken[place].startswith("file.missing")
    }
    return {
        place: f"manifest.broken: {o.name}: sync {o.job_id} also wrote {gone[o.job_id]}, which is gone"
        for place, o in enumerate(batch.objects)
        if o.job_id in gone
    }


def collect(contract: StreamContract, known: StreamContract, reports: Reports) -> Staged:
    """What an attempt staged; `rows_in` is what the manifests say, where they know."""
    batch, reads = reports.batch, reports.objects
    blocked = find_blocked(batch, reads)
    quarantined = [QuarantinedRow.model_validate(q) for r in reads.values() for q in r["quarantined"]]
    for refusal in quarantined[:QUARANTINE_SAMPLE]:
        event = "quarantine.file" if refusal.row is None else "quarantine.rows"
        log.warning("%s: %s", event, refusal.detail, extra={"event": event, "fields": refusal.model_dump()})
    drift = tell(
        contract.with_columns(batch.learned),
        known,
        [r["drift"] for r in reads.values()],
        {name for r in reads.values() for name in r.get("lost", ())} & set(contract.columns),
    )
    floor = max((s for s in batch.snapshots if s not in blocked), default="")
    newest = max(blocked, default="")
    return Staged(
        batch_id=batch.id,
        attempt=reports.attempt,
        upserts=tuple(reports.paths("upserts", batch.staging)),
        deletes=tuple(reports.paths("deletes", batch.staging)),
        rows_in=sum(reads[place]["rows"] if o.rows is None else o.rows for place, o in enumerate(batch.objects)),
        superseded=sum(r["ignored"] for r in reads.values())
        + sum(r["rows"] - r["winners"] for r in reports.shard.values()),
        quarantined=tuple(quarantined),
        columns={n: c for n, c in known.columns.items() if contract.columns.get(n) != c},
        drift=tuple(drift),
        kept=tuple(reports.paths("keep", "parquet")),
        floor=floor,
        blocked=blocked[newest] if newest > floor else "",
    )


def find_blocked(batch: Batch, reads: dict[int, Report]) -> dict[str, str]:
    """Snapshots of which a file, or a row's key, could not be read, with the reason: what is absent is not known."""
    blocked = {}
    for place, report in reads.items():
        what = batch.objects[place]
        unread = [q["reason"] for q in report["quarantined"] if q["row"] is None]
        if what.floor in batch.snapshots and (unread or report.get("unkeyed")):
            why = unread[0] if unread else f"{report['unkeyed']} rows without a key"
            blocked[what.floor] = f"{what.name}: {why}"
    return blocked
