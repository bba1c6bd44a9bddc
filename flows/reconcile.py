"""Finds and closes the gaps that lost events and dead runs leave: the platform converges without any event."""

from tasks.context import select_sources
from tasks.flow import millrace_flow
from tasks.ingest.land_sync import land_sync
from tasks.name_run import name_run
from tasks.pauses import without_paused
from tasks.reconcile.announce_merges import announce_merges
from tasks.reconcile.attempt import Attempts
from tasks.reconcile.end_dead_runs import end_dead_runs
from tasks.reconcile.find_gaps import find_unlanded_syncs, find_unmerged_landings
from tasks.reconcile.find_orphans import find_orphans
from tasks.reconcile.find_under_way import find_under_way
from tasks.reconcile.find_work import find_unpublished, find_unshown
from tasks.reconcile.free_slots import free_slots
from tasks.reconcile.full_scan import is_full_scan_due, note_full_scan
from tasks.reconcile.redrive_dead_letters import redrive_all_topics
from tasks.reconcile.report_freshness import report_freshness
from tasks.reconcile.report_reconcile import raise_failures, report_reconcile
from tasks.reconcile.settle_ledger import settle_ledger, unsettle_ledger
from tasks.reconcile.start_flows import run_merges_and_model, start_show, streams_of
from tasks.reconcile.start_requested import start_requested
from tasks.show_status import show_status
from tasks.upkeep.prepare_tables import prepare_tables
from tasks.upkeep.refresh_slack import refresh_slack


@millrace_flow(flow_run_name="reconcile", shows_failure=True)
def reconcile(source: str | None = None, dry_run: bool = False, full_scan: bool = False) -> int:
    """Compare Airbyte, lake, ledger and marts, and start the work that is missing; returns the number of gaps.

    A healthy platform has no gaps: any other number means that events are lost or runs fail. Work of an active run is
    not a gap. A step that fails does not stop the others; the run reports it at its end.

    Args:
        source: compare this source only.
        dry_run: report, and start nothing.
        full_scan: compare all syncs and manifests, however old; automatic every `reconcile.audit_every_h` hours.
    """
    sources, attempt = without_paused(select_sources(source)), Attempts()
    upkeep = Attempts()  # steps that find no data: their failures do not repeat a full scan
    full_scan = full_scan or (source is None and is_full_scan_due())
    if full_scan and not dry_run:
        attempt(unsettle_ledger)
    dead_runs = attempt(end_dead_runs, dry_run)
    under_way = find_under_way()
    leaked_slots = attempt(free_slots, dry_run)
    unlanded = find_unlanded_syncs(attempt, sources, under_way, full_scan)
    unmerged = find_unmerged_landings(attempt, sources, under_way, full_scan)
    unannounced = attempt(announce_merges, source, under_way, dry_run)
    unpublished = [] if under_way.model else attempt(find_unpublished)
    unshown = [] if under_way.model or under_way.show else attempt(find_unshown)
    orphans = attempt(find_orphans, source)
    dead_letters = redrive_all_topics(attempt, dry_run)
    requested = attempt(start_requested, dry_run)
    outdated_blocks = upkeep(refresh_slack, dry_run)
    upkeep(report_freshness, source)
    if not dry_run:
        upkeep(prepare_tables, source)  # before a model run reads them
        landed = attempt.each(land_sync, [(sync.source, sync.job_id) for sync in unlanded])
        run_merges_and_model(attempt, [*streams_of(unmerged), *landed], unpublished, full_scan)
        if unshown:
            attempt(start_show)
        upkeep(settle_ledger)
        if full_scan and source is None and not attempt.failed:
            note_full_scan()
    missing = [*unlanded, *unmerged, *unannounced, *unpublished, *unshown, *requested]
    gaps = [*dead_runs, *leaked_slots, *missing, *orphans, *dead_letters]
    failed = [*attempt.failed, *upkeep.failed]
    total = report_reconcile([*gaps, *outdated_blocks], failed, dry_run)
    name_run(f"{total} missing" if total else "nothing missing")
    show_status(return_state=True)  # a failure to render the page must not fail the run
    raise_failures(failed)
    return total
