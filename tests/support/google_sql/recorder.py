"""The jobs of a BigQuery warehouse, of which each is analysed by GoogleSQL in place of being run.

Tables exist as the analysed DDL and the schemas of load jobs made them; they have no rows. A query is answered with one
row of zeros and empty texts of its types, or with what `answers` has for its step.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core import exceptions
from google.cloud import bigquery
from zetasql.wasi._pb2.zetasql.public import type_pb2

from millrace.lake.store import Lake
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.jobs import parameters as query_parameters
from millrace.warehouse.bigquery.sql import Namespace
from tests.support.google_sql.analyser import Analyser
from tests.support.google_sql.parameters import column_type, types_of
from tests.support.google_sql.tables import Table, api_type

Rows = list[tuple[Any, ...]]
Answer = Callable[[str, Mapping[str, Any]], Rows | None]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ZEROS: dict[str, Any] = {
    "INT64": 0,
    "STRING": "",
    "BOOL": False,
    "DOUBLE": 0.0,
    "BYTES": b"",
    "DATE": date(2026, 1, 1),
    "TIMESTAMP": NOON,
    "NUMERIC": Decimal(0),
    "BIGNUMERIC": Decimal(0),
    "JSON": None,
    "ARRAY": [],
    "STRUCT": {},
}


class Recorder(Jobs):
    """Jobs that are analysed; `steps` are the texts by step."""

    def __init__(self, namespace: Namespace, lake: Lake) -> None:
        super().__init__(namespace)
        self.analyser, self.lake = Analyser(), lake
        self.answers: dict[str, Answer] = {}
        self.steps: list[tuple[str, str]] = []
        self._client = Client(self)

    def analyse(self, sql: str, values: Mapping[str, Any] | None, step: str) -> Rows:
        """Analyse a statement or script; return the answer to it. Raises Refused."""
        self.steps.append((step, sql))
        columns = self.analyser.run(sql, types_of(query_parameters(values or {})))
        answer = self.answers.get(step)
        rows = answer(sql, values or {}) if answer else None
        if rows is None:
            rows = [tuple(_zero(declared) for declared in columns.values())] if columns else []
        return rows

    def rows(self, sql: str, values: Any = None, **about: Any) -> Rows:
        return self.analyse(sql, values, about["step"])

    def table(self, sql: str, **about: Any) -> Any:
        self.analyse(sql, None, about["step"])
        return pa.table({})

    def query(self, name: str, sql: str, values: Any = None, **about: Any) -> Any:
        self.analyse(sql, values, about["step"])
        return SimpleNamespace(job_id=name)

    def estimate(self, sql: str, values: Any, step: str) -> int:
        self.analyse(sql, values, step)
        return 0

    def load(self, name: str, uris: Sequence[str], table: str, schema: Sequence[Any], **about: Any) -> Any:
        """Make a table of the job's schema; its rows are counted in the files."""
        self.analyser.tables.put(table, Table({field.name: column_type(field) for field in schema}))
        files = [self.lake.read(uri.removeprefix(f"{self.lake.url}/")) for uri in uris]
        rows = sum(pq.read_metadata(io.BytesIO(file)).num_rows for file in files)
        return SimpleNamespace(output_rows=rows)

    @contextmanager
    def translate_errors(self, action: str) -> Iterator[None]:
        yield


class Client:
    """What the adapter asks the official client outside of jobs, answered from the analysed tables."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def get_table(self, name: str, **_: Any) -> Any:
        table = self._recorder.analyser.tables.by_name.get(str(name))
        if table is None:
            raise exceptions.NotFound(f"Not found: Table {name}")
        return SimpleNamespace(
            schema=[_field(table, column) for column in table.columns],
            num_rows=0,
            table_type=table.kind,
            view_query=table.query,
            expires=None,
            time_partitioning=None,
            range_partitioning=None,
            clustering_fields=None,
            to_api_repr=dict,
        )

    def list_tables(self, parent: Any, **_: Any) -> list[Any]:
        tables = self._recorder.analyser.tables.by_name
        names = [name for name in tables if name.startswith(f"{parent}.")]
        return [
            SimpleNamespace(table_id=name.rpartition(".")[2], table_type=tables[name].kind, created=number)
            for number, name in enumerate(names)
        ]

    def delete_table(self, name: str, **_: Any) -> None:
        self._recorder.analyser.tables.drop(name)

    def delete_dataset(self, name: Any, **_: Any) -> None:
        for table in self.list_tables(name):
            self.delete_table(f"{name}.{table.table_id}")

    def list_datasets(self, **_: Any) -> list[Any]:
        names = {name.split(".")[1] for name in self._recorder.analyser.tables.by_name}
        return [SimpleNamespace(dataset_id=name) for name in sorted(names)]

    def get_dataset(self, *_: Any, **__: Any) -> None:
        return

    create_dataset = update_table = get_dataset


def _field(table: Table, name: str) -> Any:
    declared, (precision, scale) = table.columns[name], table.digits.get(name, (None, None))
    mode = "REQUIRED" if name in table.required else "NULLABLE"
    if declared.type_kind == type_pb2.TYPE_ARRAY:
        mode = "REPEATED"
    return bigquery.SchemaField(name, api_type(declared), mode, precision=precision, scale=scale)


def _zero(declared: Any) -> Any:
    return ZEROS[type_pb2.TypeKind.Name(declared.type_kind).removeprefix("TYPE_")]
