"""The gate before the build: Great Expectations looks at the rows that the merges wrote, and at no others."""

from collections.abc import Mapping
from datetime import datetime

from contracts.model import ModelWork
from contracts.stream import StreamContract
from quality.gate import validate_rows
from quality.report import QualityReport
from quality.suites import load_suites
from settings.tree import ROOT
from warehouse.port import Warehouse

SUITES = ROOT / "expectations" / "raw"


def check_merges(
    warehouse: Warehouse, streams: Mapping[str, StreamContract], work: ModelWork, as_of: datetime | None
) -> QualityReport:
    """Validate the newest rows of the work's batches, by the suites that the contracts make."""
    changed = {name: stream for name, stream in streams.items() if name in work.streams}
    queries = {name: warehouse.merged_rows(stream, work.batches, as_of) for name, stream in changed.items()}
    return validate_rows(warehouse.raw_url(), load_suites(SUITES), queries)
