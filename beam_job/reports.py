"""What the steps of a staging run left in the lake: reports in, the staged batch out; runs again when a file broke."""

import json
import logging
from collections.abc import Callable
from typing import Any

from beam_job.drift import evolve, tell
from contracts import names
from contracts.batch import Batch, QuarantinedRow, Staged
from contracts.stream import StreamContract
from lake.store import Lake

log = logging.getLogger(__name__)

QUARANTINE_SAMPLE = 5
Run = Callable[[StreamContract, dict[int, str]], None]
Resumes = Callable[[StreamContract, dict[int, str]], bool]


def anew(_known: StreamContract, _rejected: dict[int, str]) -> bool:
    """A run that never goes on where another one was."""
    return False


def stage(lake: Lake, contract: StreamContract, batch: Batch, run: Run, resumes: Resumes = anew) -> Staged:
    """Run the steps until no file breaks and no column is news; a further run is as rare as such a file.

    `run` is told the contract, with columns that files brought, and which objects to refuse, by place, and why. Where
    it `resumes` work that is under way elsewhere, that work's files are left alone.

    Raises:
        ObjectMissing: the lake lost a report; stage again.
    """
    rejected: dict[int, str] = {}
    known = grown = contract.with_columns(batch.learned)
    while True:
        if not resumes(known, rejected):
            _clear(lake, batch)
        run(known, rejected)
        units = read_reports(lake, batch, "read")
        broken = find_broken(batch, units + read_reports(lake, batch, "broken"))
        reads = {int(place): found for unit in units for place, found in unit["objects"].items()}
        grown = evolve(known, [r["drift"] for r in reads.values()])
        if not broken and grown == known:
            break
        rejected |= broken  # its rows took part in choosing winners: choose again without them
        known = grown
    staged = collect(lake, contract, known, batch, reads)
    fields = {"batch_id": batch.id, "rows_in": staged.rows_in, "superseded": staged.superseded,
              "quarantined": sum(q.rows for q in staged.quarantined), "files": len(batch.objects)}  # fmt: skip
    log.info("merge.staged", extra={"event": "merge.staged", "fields": fields})
    return staged


def _clear(lake: Lake, batch: Batch) -> None:
    """A run that begins starts from empty folders."""
    for prefix in (names.staging_prefix(batch.id), names.quarantine_prefix(batch.source, batch.stream, batch.id)):
        for leftover in lake.list(prefix):
            lake.delete(leftover.name)


def read_reports(lake: Lake, batch: Batch, kind: str) -> list[dict[str, Any]]:
    """Reports of one kind, of all units or shards."""
    prefix = f"{names.staging_prefix(batch.id)}{kind}-"
    return [json.loads(lake.read(info.name)) for info in lake.list(prefix) if info.name.endswith(".json")]


def find_broken(batch: Batch, reports: list[dict[str, Any]]) -> dict[int, str]:
    """Objects whose rows could not be read, by place, with the reason."""
    broken = {int(place): str(why) for report in reports for place, why in report["broken"].items()}
    return _spoiled(batch, broken) | broken


def _spoiled(batch: Batch, broken: dict[int, str]) -> dict[int, str]:
    """Objects of the same syncs as those that vanished: what a manifest says of them may be wrong as well."""
    gone = {batch.objects[place].job_id: batch.objects[place].name for place in sorted(broken)
            if broken[place].startswith("file.missing")}  # fmt: skip
    return {
        place: f"manifest.broken: {o.name}: sync {o.job_id} also wrote {gone[o.job_id]}, which is gone"
        for place, o in enumerate(batch.objects)
        if o.job_id in gone
    }


def collect(
    lake: Lake, contract: StreamContract, known: StreamContract, batch: Batch, reads: dict[int, dict[str, Any]]
) -> Staged:
    """What the steps left, out of their files and reports; `reads` is what was read of each object, by place."""
    found = [info.name for info in lake.list(names.staging_prefix(batch.id)) if not info.name.endswith(".json")]
    kind = {n: n.rsplit("/", 1)[1].split("-")[0] for n in found}
    shards = read_reports(lake, batch, "shard")
    blocked = find_blocked(batch, reads)
    quarantined = [QuarantinedRow.model_validate(q) for r in reads.values() for q in r["quarantined"]]
    for refusal in quarantined[:QUARANTINE_SAMPLE]:
        event = "quarantine.file" if refusal.row is None else "quarantine.rows"
        log.warning("%s: %s", event, refusal.detail, extra={"event": event, "fields": refusal.model_dump()})
    drift = tell(
        contract.with_columns(batch.learned), known, [r["drift"] for r in reads.values()],
        {name for r in reads.values() for name in r.get("lost", ())} & set(contract.columns),
    )  # fmt: skip
    floor = max((s for s in batch.snapshots if s not in blocked), default="")
    newest = max(blocked, default="")
    return Staged(
        batch_id=batch.id,
        upserts=tuple(n for n in found if kind[n] == "upserts"),
        deletes=tuple(n for n in found if kind[n] == "deletes"),
        rows_in=sum(r["rows"] for r in reads.values()),
        superseded=sum(r["ignored"] for r in reads.values()) + sum(r["rows"] - r["winners"] for r in shards),
        quarantined=tuple(quarantined),
        columns={n: c for n, c in known.columns.items() if contract.columns.get(n) != c},
        drift=tuple(drift),
        kept=tuple(n for n in found if kind[n] == "keep"),
        floor=floor,
        blocked=blocked[newest] if newest > floor else "",
    )


def find_blocked(batch: Batch, reports: dict[int, dict[str, Any]]) -> dict[str, str]:
    """Snapshots of which a file, or a row's key, could not be read, with the reason: what is absent is not known."""
    blocked = {}
    for place, report in reports.items():
        what = batch.objects[place]
        unread = [q["reason"] for q in report["quarantined"] if q["row"] is None]
        if what.floor in batch.snapshots and (unread or report.get("unkeyed")):
            why = unread[0] if unread else f"{report['unkeyed']} rows without a key"
            blocked[what.floor] = f"{what.name}: {why}"
    return blocked
