"""A server of BigQuery's API whose jobs are analysed by GoogleSQL in place of being run, for clients of any program.

Tables exist as the analysed DDL made them, without rows. A query is answered with one row of zeros and empty texts.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zetasql.wasi._pb2.zetasql.public import type_pb2

from tests.support.google_api import Call, Json
from tests.support.google_front import error, http_front
from tests.support.google_sql.analyser import Analyser
from tests.support.google_sql.parameters import rest_types
from tests.support.google_sql.rules import check_functions
from tests.support.google_sql.service import Refused
from tests.support.google_sql.tables import Table, api_type

Answer = tuple[int, Json]
PATH = re.compile(r"/bigquery/v2/projects/(?P<project>[^/]+)/(?P<kind>\w+)(?:/(?P<id>[^/]+))?(?P<rest>/.*)?")
TABLES = re.compile(r"/tables(?:/([^/]+))?(/data)?")
NAMED = re.compile(r"`([^`]+)`\.`([^`]+)`\.`([^`]+)`")
KINDS = (
    ("CREATE_TABLE_AS_SELECT", re.compile(r"create (or replace )?(temp )?table (?s:.*)\bas\b", re.I)),
    ("CREATE_TABLE", re.compile(r"create (or replace )?(temp )?table", re.I)),
    ("CREATE_VIEW", re.compile(r"create (or replace )?view", re.I)),
    *((word, re.compile(word, re.I)) for word in ("MERGE", "INSERT", "DELETE", "UPDATE", "DROP")),
)
ANONYMOUS = "_anonymous"
ZEROS = {
    "INTEGER": "0",
    "FLOAT": "0.0",
    "BOOLEAN": "false",
    "STRING": "",
    "DATE": "2026-01-01",
    "TIMESTAMP": "1767268800000000",
    "NUMERIC": "0",
    "BIGNUMERIC": "0",
}


class Server:
    """Analyses what is sent to `address`; `texts` are the queries, `refused` those that GoogleSQL rejected."""

    def __init__(self, analyser: Analyser) -> None:
        self.analyser, self.address = analyser, ""
        self.texts: list[str] = []
        self.refused: list[str] = []
        self._jobs: dict[str, Json] = {}
        self._results: dict[str, Json] = {}
        self._lock = threading.Lock()

    def answer(self, call: Call) -> Answer | None:
        """Answer a request; None for one that this server does not know."""
        match = PATH.fullmatch(call.path)
        if not match:
            return None
        kind, name, rest = match["kind"], match["id"], match["rest"] or ""
        with self._lock:
            if kind == "datasets":
                return self._dataset(call, match["project"], name, rest)
            if call.method == "POST":
                return self._query(call.body, match["project"], whole=kind == "jobs")
            found = self._jobs if kind == "jobs" else self._results
            return (200, found[name]) if name in found else None

    def _query(self, body: Json, project: str, *, whole: bool) -> Answer:
        """Analyse a job's query, or that of the method `jobs.query`."""
        query = body["configuration"]["query"] if whole else body
        sql, before = query["query"], len(self.analyser.statements)
        self.texts.append(sql)
        try:
            check_functions(sql)
            default = query.get("defaultDataset") or {}
            self.analyser.default_dataset = f"{default['projectId']}.{default['datasetId']}" if default else ""
            columns = self.analyser.run(sql, rest_types(query.get("queryParameters", [])))
        except Refused as refused:
            self.refused.append(f"{refused}\n{sql}")
            return 400, error(400, "invalidQuery", str(refused))
        fields = [_field(name, kind) for name, kind in zip(self.analyser.names, columns.values(), strict=True)]
        kind = _kind(self.analyser.statements[before:])
        name = (body.get("jobReference") or {}).get("jobId") or f"job_{len(self._jobs)}"
        reference = {"projectId": project, "jobId": name, "location": "EU"}
        self._results[name] = _result(reference, fields)
        statistics = {"statementType": kind, "totalBytesProcessed": "0", "totalBytesBilled": "0"}
        self._jobs[name] = {
            "id": f"{project}:EU.{name}",
            "jobReference": reference,
            "configuration": {
                "jobType": "QUERY",
                "query": {"query": sql, "destinationTable": _destination(sql, kind, project, name)},
            },
            "status": {"state": "DONE"},
            "statistics": {"query": statistics, "totalBytesProcessed": "0"},
        }
        return 200, self._jobs[name] if whole else self._results[name]

    def _dataset(self, call: Call, project: str, dataset: str | None, rest: str) -> Answer | None:
        table = TABLES.fullmatch(rest)
        if not table:
            return 200, {"datasetReference": {"projectId": project, "datasetId": dataset or ""}, "location": "EU"}
        if not table[1]:
            return 200, {"tables": self._listed(f"{project}.{dataset}")}
        name = f"{project}.{dataset}.{table[1]}"
        if dataset == ANONYMOUS:
            return 200, self._results[table[1]] if table[2] else _described(name, Table({}))
        if name not in self.analyser.tables.by_name:
            return 404, error(404, "notFound", f"Not found: Table {name}")
        if call.method == "DELETE":
            self.analyser.tables.drop(name)
            return 200, {}
        return 200, _described(name, self.analyser.tables.by_name[name])

    def _listed(self, parent: str) -> list[Json]:
        tables = self.analyser.tables.by_name
        return [_described(name, tables[name]) for name in tables if name.startswith(f"{parent}.")]


@contextmanager
def analysing(analyser: Analyser) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1 that is gone at the end."""
    server = Server(analyser)
    with http_front(server.answer) as front:
        server.address = front.address
        yield server


def _kind(statements: list[str]) -> str:
    """Return the API's name of a statement's kind."""
    if len(statements) > 1:
        return "SCRIPT"
    return next((kind for kind, pattern in KINDS if pattern.match(statements[0])), "SELECT")


def _destination(sql: str, kind: str, project: str, job: str) -> Json:
    match = None if kind == "SELECT" else NAMED.search(sql)
    named = match.groups() if match else (project, ANONYMOUS, job)
    return dict(zip(("projectId", "datasetId", "tableId"), named, strict=True))


def _described(name: str, table: Table) -> Json:
    project, dataset, own = name.split(".")
    return {
        "id": name,
        "etag": "one",
        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": own},
        "type": table.kind,
        "schema": {"fields": [_field(column, kind) for column, kind in table.columns.items()]},
        "numRows": "0",
        "numBytes": "0",
    }


def _field(name: str, declared: Any) -> Json:
    """Return a column as the API describes it."""
    field: Json = {"name": name, "type": api_type(declared), "mode": "NULLABLE"}
    if declared.type_kind == type_pb2.TYPE_ARRAY:
        field["mode"] = "REPEATED"
        declared = declared.array_type.element_type
    if declared.type_kind == type_pb2.TYPE_STRUCT:
        field |= {"type": "RECORD", "fields": [_field(f.field_name, f.field_type) for f in declared.struct_type.field]}
    return field


def _result(reference: Json, fields: list[Json]) -> Json:
    rows = [{"f": [{"v": _zero(field)} for field in fields]}] if fields else []
    return {
        "jobReference": reference,
        "jobComplete": True,
        "schema": {"fields": fields},
        "totalRows": str(len(rows)),
        "rows": rows,
        "totalBytesProcessed": "0",
    }


def _zero(field: Json) -> Any:
    if field["mode"] == "REPEATED":
        return []
    if field["type"] == "RECORD":
        return {"f": [{"v": _zero(inner)} for inner in field["fields"]]}
    return ZEROS.get(field["type"])
