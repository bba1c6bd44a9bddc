"""One SELECT on the marts, the merged tables and the ledger in, an Arrow table out."""

import re

import pyarrow as pa

from millrace.domain.errors import WarehouseRefused
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.reader import ONLY_SELECT

SELECT = re.compile(r"\s*(SELECT|WITH)\b[^;]*;?\s*", re.IGNORECASE)
SCHEMA = re.compile(r"(?<![\w`.-])(marts|ops|raw_\w+)\.(?=\w)")


def query(jobs: Jobs, marts: str, sql: str, limit: int | None = None) -> pa.Table:
    """Run one SELECT, and return its rows, or the first `limit` of them.

    `marts.<mart>` is in the dataset `marts`; `ops.<table>` and `raw_<source>.<stream>` are those of the warehouse.

    Raises:
        BudgetExceeded: it would read more bytes than the settings allow.
        WarehouseRefused: it is not one SELECT, or BigQuery rejected it.
    """
    if not SELECT.fullmatch(sql):
        raise WarehouseRefused(ONLY_SELECT)
    namespace = jobs.namespace

    def locate(match: re.Match[str]) -> str:
        schema = marts if match[1] == "marts" else match[1]
        return f"`{namespace.project}`.`{namespace.dataset(schema)}`."

    return jobs.table(SCHEMA.sub(locate, sql), step="query", most_rows=limit)
