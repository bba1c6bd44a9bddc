"""Starts whatever an event should have started and did not: the platform converges without any event."""

from prefect import flow

from blocks.names import RESULT_STORAGE
from millrace.domain.names import TOPICS
from tasks.context import wanted_sources
from tasks.ingest.land_sync import land_sync
from tasks.reconcile.announce_merges import announce_merges
from tasks.reconcile.attempt import Attempts
from tasks.reconcile.audit import is_audit_due, note_audit
from tasks.reconcile.end_dead_runs import end_dead_runs
from tasks.reconcile.find_orphans import find_orphans
from tasks.reconcile.find_under_way import find_under_way
from tasks.reconcile.find_unlanded import find_unlanded
from tasks.reconcile.find_work import find_unmerged, find_unpublished
from tasks.reconcile.free_slots import free_slots
from tasks.reconcile.report_freshness import report_freshness
from tasks.reconcile.report_reconcile import raise_failures, report_reconcile
from tasks.reconcile.start_flows import await_runs, start_merges, start_model, streams_of
from tasks.reconcile.tend_dead_letters import tend_dead_letters
from tasks.say_done import say_done
from tasks.show_status import show_failure, show_status
from tasks.tell import tell_failure, tell_recovery
from tasks.upkeep.refresh_slack import refresh_slack


@flow(
    flow_run_name="reconcile",
    persist_result=True,
    result_storage=RESULT_STORAGE,
    on_failure=[tell_failure, show_failure],
    on_completion=[tell_recovery],
)
def reconcile(source: str | None = None, dry_run: bool = False, audit: bool = False) -> int:
    """Compare Airbyte, lake, ledger and marts, and start what is missing; returns how much was found.

    In healthy times it finds nothing: any other figure means that events are being lost or runs fail. What a living run
    is at is not counted. What fails is reported in the end and holds nothing else back.

    Args:
        source: look at this source only.
        dry_run: report, and start nothing.
        audit: look at all syncs and manifests, however old; done by itself every `reconcile.audit_every_h` hours.
    """
    sources, attempt = wanted_sources(source), Attempts()
    audit = audit or (source is None and is_audit_due())
    found = attempt(end_dead_runs, dry_run)
    under_way = find_under_way()
    found += attempt(free_slots, dry_run)
    syncs = [s for c in sources if c.source not in under_way.sources for s in attempt(find_unlanded, c.source, audit)]
    syncs = [sync for sync in syncs if (sync.source, sync.job_id) not in under_way.jobs]
    streams = [stream for c in sources for stream in c.streams.values() if stream.id not in under_way.streams]
    unmerged = [f for stream in streams for f in attempt(find_unmerged, stream.source, stream.stream, audit)]
    found += syncs + unmerged + attempt(announce_merges, source, under_way, dry_run)
    unpublished = [] if under_way.model else attempt(find_unpublished)
    found += unpublished + attempt(find_orphans, source)
    found += [letters for topic in TOPICS for letters in attempt(tend_dead_letters, topic, dry_run)]
    found += attempt(refresh_slack, dry_run)
    attempt(report_freshness, source)
    if not dry_run:
        landed = [stream for sync in syncs for stream in attempt(land_sync, sync.source, sync.job_id)]
        runs = attempt(start_merges, [*streams_of(unmerged), *landed], audit)
        if (attempt(await_runs, runs) or unpublished) and attempt(find_unpublished):
            attempt(start_model)  # now, and not by the next run: the marts are right within one interval
        if audit and source is None and not attempt.failed:
            note_audit()
    total = report_reconcile(found, attempt.failed, dry_run)
    say_done(f"{total} missing" if total else "nothing missing")
    show_status(return_state=True)  # a page that is missing holds nothing back
    raise_failures(attempt.failed)
    return total
