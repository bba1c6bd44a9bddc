"""The gate before the build: Great Expectations validates the rows that the merges wrote, and no others."""

from collections.abc import Mapping
from datetime import datetime

from millrace.contracts.stream import StreamContract
from millrace.domain.model import ModelWork
from millrace.quality.gate import validate_rows
from millrace.quality.report import QualityReport
from millrace.quality.suites import load_suites
from millrace.settings.tree import ROOT
from millrace.warehouse.port import Warehouse

SUITES = ROOT / "expectations" / "raw"


def check_merges(
    warehouse: Warehouse, streams: Mapping[str, StreamContract], work: ModelWork, as_of: datetime | None
) -> QualityReport:
    """Validate the newest rows of the work's batches with the suites that are generated from the contracts."""
    changed = {name: stream for name, stream in streams.items() if name in work.streams}
    queries = {name: warehouse.merged_rows(stream, work.batches, as_of) for name, stream in changed.items()}
    return validate_rows(warehouse.raw_url(), load_suites(SUITES), queries)
