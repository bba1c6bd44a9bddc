"""The gate before the build: Great Expectations validates the rows that the merges wrote, and no others."""

from collections.abc import Mapping
from datetime import datetime

from millrace.contracts.stream import StreamContract
from millrace.domain.model import ModelWork
from millrace.project import current_project
from millrace.quality.gate import validate_rows
from millrace.quality.report import QualityReport
from millrace.quality.suites import load_suites
from millrace.warehouse.port import Warehouse

MOST_BATCHES = 5_000  # of a query, whose text has at most 1 MB: https://cloud.google.com/bigquery/quotas#query_jobs


def check_merges(
    warehouse: Warehouse, streams: Mapping[str, StreamContract], work: ModelWork, as_of: datetime | None
) -> QualityReport:
    """Validate the newest rows of the work's batches with the suites that are generated from the contracts.

    A full run validates all live rows, and so does work of more batches than a query may name.
    """
    changed = {name: stream for name, stream in streams.items() if name in work.streams}
    batches = None if work.full or len(work.batches) > MOST_BATCHES else work.batches
    queries = {name: warehouse.merged_rows(stream, batches, as_of) for name, stream in changed.items()}
    return validate_rows(warehouse.raw_url(), load_suites(current_project().raw_expectations), queries)
