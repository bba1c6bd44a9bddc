"""A front of the BigQuery emulator that rejects what BigQuery rejects and the emulator does not."""

import json
import re
from typing import Any

from google.api_core import exceptions

from tests.support.bigquery import BigQuery
from tests.support.proxy import Proxy

REPLACE = re.compile(r"POST .*CREATE OR REPLACE TABLE `([^`]+)` COPY `([^`]+)`")
# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#create_table_statement
MESSAGE = (
    "Cannot replace a table with a different partitioning spec. Instead, DROP the table, and then recreate it. New"
    " partitioning spec is {new} and existing spec is {old}"
)


class Front(Proxy):
    """Rejects a table that would replace one of other partitions or clustering."""

    def __init__(self, bigquery: BigQuery) -> None:
        self._client = bigquery.client()
        super().__init__(int(bigquery.endpoint.rsplit(":", 1)[1]))

    def refuses(self, line: str) -> bool:
        match = REPLACE.search(line)
        if not match:
            return super().refuses(line)
        old, new = (self._layout(name) for name in match.groups())
        if old is None or old == new:
            return False
        error = {"message": MESSAGE.format(new=new, old=old), "reason": "invalid", "domain": "global"}
        self.refusal = (400, json.dumps({"error": {"code": 400, **error, "errors": [error]}}).encode())
        self.refused += 1
        return True

    def _layout(self, name: str) -> str | None:
        """Return partitions and clustering as BigQuery's message has them, None if there is no such table."""
        try:
            table: Any = self._client.get_table(name)
        except exceptions.NotFound:
            return None
        if table.table_type == "VIEW":
            return "view"
        days = table.time_partitioning
        partitions = f"interval(type:{days.type_.lower()},field:{days.field})" if days else "none"
        clustered = f" clustering({','.join(table.clustering_fields)})" if table.clustering_fields else ""
        return partitions + clustered

    def close(self) -> None:
        super().close()
        self._client.close()
