"""What a merge and a search cost beside ledgers of very different sizes: `python -m bench.ledger --rows 1000000`.

The ledger is filled with facts of healthy days: every merge is announced and published. On DuckDB seconds of CPU and
memory are measured. With `--bigquery` the same searches run on the emulator, which can't show pruning: there the facts
of the days that a search names are counted instead, as those are the partitions that BigQuery reads.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import duckdb

from beam_job.batches import Limits
from beam_job.merge import merge_stream
from millrace.contracts.stream import StreamContract
from millrace.domain.ledger import announced_entry
from millrace.warehouse.duckdb.engine import file_of
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from millrace.warehouse.port import Warehouse
from millrace.warehouse.settled import settled_before
from tests.support.in_process import MemoryLake
from tests.support.merging import Merging, contract, upsert

SIZES = (0, 10_000, 100_000, 1_000_000)
A_DAY = 2_400  # merges, of 100 streams that are merged hourly
FACTS = 3  # of a merge: it is merged, announced and published
TRIES = 5
NOW = datetime.now(UTC)
FILL = """
INSERT INTO ops.ledger (kind, batch_id, source, stream, run_id, "at", rows_in, merged, superseded, stale, quarantined,
  tombstoned_by_absence, detail)
SELECT kind, 'shop-s' || (n % 1000) || '-' || md5(n::VARCHAR)[:12],
  CASE kind WHEN 'published' THEN '' ELSE 'shop' END, CASE kind WHEN 'published' THEN '' ELSE 's' || (n % 1000) END,
  uuid()::VARCHAR, $1 - to_seconds(($2 - n) * 86400.0 / $3), 100, 100, 0, 0, 0, 0,
  CASE kind WHEN 'published' THEN 'candidate_' || md5((n // 300)::VARCHAR)[:16] ELSE '' END
FROM range($2) r(n), (VALUES ('merged'), ('announced'), ('published')) k(kind) ORDER BY n
"""
OBJECTS = """
INSERT INTO ops.ledger_objects SELECT batch_id, source, stream,
  'raw/shop/' || stream || '/sync_id=' || row_number() OVER () || '/0.parquet', 1, row_number() OVER (), 100
FROM ops.ledger WHERE kind = 'merged'
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one merge and of the searches of `reconcile` and `model`, and what the searches returned."""

    facts: int
    merge_s: float
    search_s: float
    hits: int
    peak_mb: float


def fill(warehouse: DuckDBWarehouse, facts: int, now: datetime) -> None:
    """Write the facts of settled merges that end at `now`."""
    with duckdb.connect(str(file_of(warehouse.url))) as db:
        db.execute("SET TimeZone = 'UTC'")
        db.execute(FILL, [now, facts // FACTS, A_DAY])
        db.execute(OBJECTS)


def search(warehouse: Warehouse, now: datetime) -> int:
    """Run the searches of one `reconcile` and one `model` run; return the number of results."""
    merges = warehouse.newest_merges(now - timedelta(hours=1))
    publication, model = warehouse.unannounced_publication(), warehouse.newest_model()
    facts_found = [*warehouse.unpublished(), *warehouse.unannounced(), *merges]
    return len(facts_found) + (publication is not None) + (model is not None)


def merge(merging: Merging, stream: StreamContract, number: int) -> None:
    """Land one row, merge it, and note the announcement and the publication."""
    merging.land(rows=[upsert(number, number)])
    merge_stream(merging.lake, merging.warehouse, None, stream, limits=Limits(), run_id=f"r{number}", clock=lambda: NOW)
    batch = merging.warehouse.head(stream).batch_id
    entry = announced_entry(batch, f"r{number}", NOW, "m", source=stream.source, stream=stream.stream)
    merging.warehouse.append(entry, entry.model_copy(update={"kind": "published", "detail": f"c{number}"}))
    merging.warehouse.append(
        entry.model_copy(update={"batch_id": f"c{number}"}), entry.model_copy(update={"kind": "modelled"})
    )


def timed(action: Callable[[int], object], tries: int = TRIES) -> float:
    """Return the median CPU seconds of an action: other processes of the machine do not change them."""
    seconds = []
    for number in range(tries):
        began = time.process_time()
        action(number)
        seconds.append(time.process_time() - began)
    return median(seconds)


@contextmanager
def prepared(facts: int) -> Iterator[Merging]:
    """Yield a stream in a warehouse whose ledger has facts of the past, which is settled as `reconcile` does."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        merging = Merging(MemoryLake(), Path(folder), contract())
        merge(merging, merging.contract, 1_000)
        fill(merging.warehouse, facts, NOW)
        merging.warehouse.settle(settled_before(merging.warehouse, NOW))
        yield merging


def measure(facts: int) -> Cost:
    """Measure one size on DuckDB, in this process, whose peak memory is the largest so far."""
    with prepared(facts) as merging:
        merge_s = timed(lambda number: merge(merging, merging.contract, 2_000 + number))
        facts_found = search(merging.warehouse, NOW)
        search_s = timed(lambda _: search(merging.warehouse, NOW))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(facts, merge_s, search_s, facts_found, peak)


def table(costs: list[Cost]) -> str:
    """The costs as Markdown."""
    lines = [
        "| facts in the ledger | merge, CPU s | searches, CPU s | results | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {c.facts:,} | {c.merge_s:.2f} | {c.search_s:.2f} | {c.hits} | {c.peak_mb:,.0f} |" for c in costs]
    return "\n".join(lines)


def main() -> int:
    """Measure and print; 1 when a merge beside the largest ledger takes more than twice that beside the smallest."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--rows", type=int, default=SIZES[-1], help="facts in the largest ledger")
    parser.add_argument("--bigquery", action="store_true", help="on the BigQuery emulator, with smaller ledgers")
    options = parser.parse_args()
    if options.bigquery:
        from bench.ledger_bigquery import report

        print(report())
        return 0
    costs = [measure(size) for size in SIZES if size <= options.rows]
    print(table(costs))
    return int(costs[-1].merge_s > 2 * costs[0].merge_s)


if __name__ == "__main__":
    sys.exit(main())
