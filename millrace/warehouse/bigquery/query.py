"""One SELECT on the merged tables and the ledger in, an Arrow table out."""

import re

import pyarrow as pa

from millrace.domain.errors import WarehouseRefused
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.reader import ONLY_SELECT

SELECT = re.compile(r"\s*(SELECT|WITH)\b[^;]*;?\s*", re.IGNORECASE)
SCHEMA = re.compile(r"(?<![\w`.-])(ops|raw_\w+)\.(?=\w)")


def query(jobs: Jobs, sql: str) -> pa.Table:
    """Run one SELECT; `ops.<table>` and `raw_<source>.<stream>` are those of the warehouse.

    Raises:
        BudgetExceeded: it would read more bytes than the settings allow.
        WarehouseRefused: it is not one SELECT, or BigQuery rejected it.
    """
    if not SELECT.fullmatch(sql):
        raise WarehouseRefused(ONLY_SELECT)
    namespace = jobs.namespace
    located = SCHEMA.sub(lambda match: f"`{namespace.project}`.`{namespace.dataset(match[1])}`.", sql)
    return jobs.table(located, step="query")
