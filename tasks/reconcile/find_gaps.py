"""Searches of reconcile over many sources or streams: contracts and active runs in, gaps that no run will close out."""

from collections.abc import Iterable

from millrace.contracts.source import SourceContract
from millrace.domain.findings import ActiveWork, Gap
from tasks.reconcile.attempt import Attempts
from tasks.reconcile.find_unlanded import find_unlanded
from tasks.reconcile.find_work import find_unmerged


def find_unlanded_syncs(
    attempt: Attempts, sources: Iterable[SourceContract], under_way: ActiveWork, full_scan: bool
) -> list[Gap]:
    """Return the ended syncs that lack a manifest and that no active run watches or lands."""
    idle = [contract.source for contract in sources if contract.source not in under_way.sources]
    syncs = attempt.each(find_unlanded, [(source, full_scan) for source in idle])
    return [sync for sync in syncs if (sync.source, sync.job_id) not in under_way.jobs]


def find_unmerged_landings(
    attempt: Attempts, sources: Iterable[SourceContract], under_way: ActiveWork, full_scan: bool
) -> list[Gap]:
    """Return the pending landings and open batches of the streams that no active run merges."""
    streams = [stream for contract in sources for stream in contract.streams.values()]
    idle = [stream for stream in streams if stream.id not in under_way.streams]
    return attempt.each(find_unmerged, [(stream.source, stream.stream, full_scan) for stream in idle])
