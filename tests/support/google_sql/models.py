"""The project of dbt and the suites of expectations in; every SQL text that they send to BigQuery, analysed, out."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from millrace.contracts.source import load_sources
from millrace.quality.gate import validate, validate_rows
from millrace.quality.report import QualityReport
from millrace.quality.suites import load_suites
from millrace.warehouse.bigquery.sql import Namespace
from millrace.warehouse.bigquery.warehouse import BigQueryWarehouse
from tasks.model.dbt import build_arguments, dbt_variables
from tests.support.google_sql.everything import MARTS, URL
from tests.support.google_sql.recorder import NOON, Recorder
from tests.support.google_sql.server import Server, analysing
from tests.support.in_process import MemoryLake
from tests.support.servers import ROOT

CANDIDATE = "candidate_1"
STREAMS = {s.id: s for source in load_sources(ROOT / "sources").values() for s in source.streams.values()}
CHANGED: dict[str, list[str] | None] = {"airport_ops.flights": ["2013-01-01", "2013-01-02"]}


@dataclass
class Analysed:
    """What dbt and the gates sent, by what sent it; `nodes` are dbt's with their outcome, by command.

    `failed` has the errors of what ended by one.
    """

    server: Server
    texts: dict[str, list[str]] = field(default_factory=dict)
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    reports: dict[str, QualityReport] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, into: dict[str, Any], call: Callable[[], Any]) -> None:
        """Store the result of a call, and the texts that came meanwhile."""
        before = len(self.server.texts)
        try:
            into[name] = call()
        except Exception as error:
            self.failed[name] = str(error)
        self.texts[name] = self.server.texts[before:]


def analysed(folder: Path) -> Analysed:
    """Build the project from scratch and for changed days, and validate rows and marts; failures are in the result."""
    recorder = Recorder(Namespace.of(URL), MemoryLake())
    with mock.patch("millrace.warehouse.bigquery.warehouse.Jobs", return_value=recorder):
        prepared = BigQueryWarehouse(URL, MARTS)
    for contract in STREAMS.values():
        prepared.ensure(contract)
    with analysing(recorder.analyser) as server:
        done = Analysed(server)
        warehouse = BigQueryWarehouse(URL, MARTS, endpoint=server.address, retry_s=1)
        environment = warehouse.dbt_environment(CANDIDATE) | {"MILLRACE_AS_OF": NOON.isoformat()}
        for name, arguments in (
            ("from scratch", build_arguments(True, {})),
            ("changed days", build_arguments(False, CHANGED)),
        ):
            done.note(name, done.nodes, partial(_build, folder / name, arguments, environment))
        queries = {name: warehouse.merged_rows(stream, ["b"], NOON) for name, stream in STREAMS.items()}
        for suite in load_suites(ROOT / "expectations" / "raw"):
            done.note(suite.name, done.reports, partial(validate_rows, warehouse.raw_url(), [suite], queries))
        for suite in load_suites(ROOT / "expectations"):
            done.note(suite.name, done.reports, partial(validate, warehouse.candidate_url(CANDIDATE), [suite]))
        warehouse.close()
    return done


def _build(target: Path, arguments: list[str], environment: dict[str, str]) -> dict[str, str]:
    """Run dbt; return the outcome of each node, without exposures, which have no SQL."""
    from dbt.cli.main import dbtRunner  # takes seconds

    project = str(ROOT / "dbt_project")
    options = ["--project-dir", project, "--profiles-dir", project]
    options += ["--target-path", str(target), "--log-path", str(target)]
    with dbt_variables(environment):
        dbtRunner().invoke(["--quiet", *arguments, *options])
    results = json.loads((target / "run_results.json").read_text())["results"]
    return {r["unique_id"]: f"{r['status']}: {r['message']}" for r in results if r["status"] != "no-op"}
