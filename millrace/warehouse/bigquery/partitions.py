"""BigQuery's limits of partitions: those that a batch touches and the table has in, BudgetExceeded out.

https://cloud.google.com/bigquery/quotas#partitioned_tables
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.errors import BudgetExceeded
from millrace.warehouse.bigquery import merge_sql as merging
from millrace.warehouse.bigquery.jobs import Jobs

MOST_OF_A_TABLE = 10_000
COUNTED_FROM = 5_000  # the free count of a table's partitions is minutes old: from here on they are listed
DIGITS = {"day": 8, "month": 6, "year": 4}  # of a partition's name: 20260131, 202601, 2026
REFUSAL = re.compile(r"too many (total \(existing \+ new\) )?partitions", re.I)
LISTED = "SELECT partition_id FROM {partitions} WHERE table_name = @table AND partition_id != '__UNPARTITIONED__'"


def check(jobs: Jobs, contract: StreamContract, batch: str, touched: Sequence[Any]) -> None:
    """Raise BudgetExceeded if a batch changes more partitions than a job may, or its table would have too many."""
    if len(touched) > merging.MOST_PARTITIONS:
        raise BudgetExceeded(
            f"batch {batch} touches more than {merging.MOST_PARTITIONS} partitions of {contract.id}, and BigQuery"
            f" changes no more in one job; lower beam.batch_max_bytes, or {_coarser(contract)}"
        )
    if contract.partition and contract.partition.column and contract.partition.by != "year":
        ids = {partition_id(start, contract.partition.by) for start in touched}
        if _counted(jobs, contract) + len(ids) > COUNTED_FROM:
            all_ids = ids | _listed(jobs, contract)
            if len(all_ids) > MOST_OF_A_TABLE:
                raise BudgetExceeded(
                    f"batch {batch} would give the table of {contract.id} {len(all_ids):,} partitions, and BigQuery's"
                    f" tables have at most {MOST_OF_A_TABLE:,}; {_coarser(contract)}"
                )


def explain(contract: StreamContract, batch: str, message: str) -> None:
    """Raise BudgetExceeded with the remedy if BigQuery refused a job because of its partitions."""
    if REFUSAL.search(message):
        raise BudgetExceeded(f"batch {batch} of {contract.id}: {message}; {_coarser(contract)}")


def partition_id(start: date | None, by: str) -> str:
    """Return BigQuery's name of the partition that begins at a day."""
    return start.isoformat()[:10].replace("-", "")[: DIGITS[by]] if start else "__NULL__"


def _counted(jobs: Jobs, contract: StreamContract) -> int:
    """Return how many partitions a table has, as of some minutes ago; so many that they are listed, if unknown."""
    table = jobs.namespace.id(names.raw_schema(contract.source), contract.stream)
    with jobs.translate_errors(f"count the partitions of {contract.id}"):
        counted = jobs.client.get_table(table, retry=jobs.retry).to_api_repr().get("numPartitions")
    return COUNTED_FROM if counted is None else int(counted)


def _listed(jobs: Jobs, contract: StreamContract) -> set[str]:
    query = LISTED.format(
        partitions=jobs.namespace.table(names.raw_schema(contract.source), "INFORMATION_SCHEMA.PARTITIONS")
    )
    rows = jobs.rows(query, {"table": contract.stream}, step="partitions", contract=contract)
    return {str(name) for (name,) in rows}


def _coarser(contract: StreamContract) -> str:
    """Say how a stream gets fewer partitions."""
    source = f"sources/{contract.source}.yaml"
    if contract.partition and contract.partition.hash_buckets:
        return f"declare fewer hash_buckets in {source}, with a new version, and rebuild the table"
    return f"partition by month or year in {source}, with a new version, and rebuild the table"
