"""Searches of large and small ledgers on the BigQuery emulator, and the facts that BigQuery would have to read."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.ledger import A_DAY, FACTS, search
from millrace.domain.ledger import LedgerEntry
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from millrace.warehouse.settled import LATEST, settled_before
from tests.support.bigquery import emulator, namespace_of

SIZES = (30_000, 300_000)
FILL = """
INSERT INTO {ledger} (kind, batch_id, source, stream, run_id, `at`, rows_in, merged, superseded, stale, quarantined,
  tombstoned_by_absence, detail, written_at, place)
SELECT kind, CONCAT('shop-s', CAST(MOD(n, 1000) AS STRING), '-', SUBSTR(TO_HEX(MD5(CAST(n AS STRING))), 1, 12)),
  IF(kind = 'published', '', 'shop'), IF(kind = 'published', '', CONCAT('s', CAST(MOD(n, 1000) AS STRING))),
  CONCAT('r', CAST(n AS STRING)), TIMESTAMP_SUB(@now, INTERVAL CAST((@merges - n) * 86400 / @per_day AS INT64) SECOND),
  100, 100, 0, 0, 0, 0, IF(kind = 'published', 'c', ''), CURRENT_TIMESTAMP(), n
FROM UNNEST(GENERATE_ARRAY(1, @merges)) n CROSS JOIN UNNEST(['merged', 'announced', 'published']) kind
"""
READ = "SELECT COUNT(*) FROM {ledger} WHERE `at` >= TIMESTAMP_TRUNC(@since, DAY)"


def measure(warehouse: BigQueryWarehouse, facts: int, now: datetime) -> str:
    """Return a line: facts, those in the days that a search names, its results, and its seconds on the emulator."""
    ledger = namespace_of(warehouse).ops("ledger")
    warehouse.append(
        LedgerEntry(kind="modelled", batch_id="c", source="", stream="", run_id="r", at=now, detail="p"),
        LedgerEntry(kind="announced", batch_id="c", source="", stream="", run_id="r", at=now),
    )
    values = {"now": now, "merges": facts // FACTS, "per_day": A_DAY}
    warehouse._jobs.rows(FILL.format(ledger=ledger), values, step="bench")
    warehouse.settle(settled_before(warehouse, now))
    ((read,),) = warehouse._jobs.rows(READ.format(ledger=ledger), {"since": now - LATEST}, step="bench")
    began = time.perf_counter()
    facts_found = search(warehouse, now)
    return f"| {facts:,} | {read:,} | {facts_found} | {time.perf_counter() - began:.1f} |"


def report() -> str:
    """Measure every size; the figures as Markdown."""
    lines = [
        "| facts in the ledger | facts in the days that are read | results | s on the emulator |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, emulator(Path(folder) / "state") as bigquery:
        for size in SIZES:
            with bigquery.prefix() as prefix:
                warehouse = bigquery.warehouse(prefix)
                lines.append(measure(warehouse, size, datetime.now(UTC)))
                warehouse.close()
    return "\n".join(lines)
