"""What the steps of a staging run left in the lake: reports in, the staged batch out; runs again when a file broke."""

import json
import logging
from collections.abc import Callable
from typing import Any

from contracts import names
from contracts.batch import Batch, QuarantinedRow, Staged
from lake.store import Lake

log = logging.getLogger(__name__)

QUARANTINE_SAMPLE = 5
Run = Callable[[dict[int, str]], None]


def stage(lake: Lake, batch: Batch, run: Run) -> Staged:
    """Run the steps until no file breaks; `run` is told which objects to refuse, by place, and why.

    Raises:
        ObjectMissing: the lake lost a report; stage again.
    """
    rejected: dict[int, str] = {}
    _run(lake, batch, run, rejected)
    while broken := find_broken(lake, batch):
        rejected |= broken  # its rows took part in choosing winners: choose again without them
        _run(lake, batch, run, rejected)
    staged = collect(lake, batch)
    fields = {"batch_id": batch.id, "rows_in": staged.rows_in, "superseded": staged.superseded,
              "quarantined": sum(q.rows for q in staged.quarantined), "files": len(batch.objects)}  # fmt: skip
    log.info("merge.staged", extra={"event": "merge.staged", "fields": fields})
    return staged


def _run(lake: Lake, batch: Batch, run: Run, rejected: dict[int, str]) -> None:
    """Run the steps once, from an empty staging folder."""
    for leftover in lake.list(names.staging_prefix(batch.id)):
        lake.delete(leftover.name)
    run(rejected)


def find_broken(lake: Lake, batch: Batch) -> dict[int, str]:
    """Objects whose rows could not be read, by place, with the reason."""
    prefix = f"{names.staging_prefix(batch.id)}broken-"
    found = [info.name for info in lake.list(prefix)]
    broken = {int(n.removeprefix(prefix).removesuffix(".json")): json.loads(lake.read(n))["why"] for n in found}
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


def collect(lake: Lake, batch: Batch) -> Staged:
    """What the steps left, out of their files and reports."""
    found = [info.name for info in lake.list(names.staging_prefix(batch.id))]
    reports = {n: json.loads(lake.read(n)) for n in found if n.endswith(".json")}
    kind = {n: n.rsplit("/", 1)[1].split("-")[0] for n in found}
    read = [r for n, r in reports.items() if kind[n] == "read"]
    blocked = find_blocked(batch, {n: r for n, r in reports.items() if kind[n] == "read"})
    shards = [r for n, r in reports.items() if kind[n] == "shard"]
    quarantined = [QuarantinedRow.model_validate(q) for r in read for q in r["quarantined"]]
    for refusal in quarantined[:QUARANTINE_SAMPLE]:
        event = "quarantine.file" if refusal.row is None else "quarantine.rows"
        log.warning("%s: %s", event, refusal.detail, extra={"event": event, "fields": refusal.model_dump()})
    floor = max((s for s in batch.snapshots if s not in blocked), default="")
    newest = max(blocked, default="")
    return Staged(
        batch_id=batch.id,
        upserts=tuple(n for n in found if n.endswith(".parquet") and kind[n] == "upserts"),
        deletes=tuple(n for n in found if n.endswith(".parquet") and kind[n] == "deletes"),
        rows_in=sum(r["rows"] for r in read),
        superseded=sum(r["ignored"] for r in read) + sum(r["rows"] - r["winners"] for r in shards),
        quarantined=tuple(quarantined),
        kept=tuple(n for n in found if kind[n] == "keep"),
        floor=floor,
        blocked=blocked[newest] if newest > floor else "",
    )


def find_blocked(batch: Batch, reports: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Snapshots of which a file, or a row's key, could not be read, with the reason: what is absent is not known."""
    blocked = {}
    for name, report in reports.items():
        what = batch.objects[int(name.rsplit("-", 1)[1].removesuffix(".json"))]
        unread = [q["reason"] for q in report["quarantined"] if q["row"] is None]
        if what.floor in batch.snapshots and (unread or report.get("unkeyed")):
            why = unread[0] if unread else f"{report['unkeyed']} rows without a key"
            blocked[what.floor] = f"{what.name}: {why}"
    return blocked
