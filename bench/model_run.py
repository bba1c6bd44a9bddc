"""A model run without an orchestrator: the steps of the flow `model` in one process, each timed."""

import json
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from millrace.contracts.source import load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain.errors import QualityFailed
from millrace.domain.ledger import modelled_entry, published_entry
from millrace.domain.model import KINDS, ModelWork, unpublished_work
from millrace.quality.gate import validate, validate_rows
from millrace.quality.report import QualityReport
from millrace.quality.suites import load_suites
from millrace.settings.tree import ROOT
from millrace.warehouse.port import Warehouse
from tasks.model.dbt import PROJECT, build_arguments, built_marts, dbt_variables

SUITES = ROOT / "expectations"


@dataclass
class ModelRun:
    """The marts that a run built, the reports of its gates, and the seconds of each step."""

    candidate: str
    work: ModelWork
    marts: tuple[str, ...] = ()
    merged_rows: QualityReport = field(default_factory=lambda: QualityReport(()))
    rows: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds.values())


def run_model(warehouse: Warehouse, state: Path, *, full: bool = False, project: str = "") -> ModelRun | None:
    """Check, build, validate and publish the pending work; return None when there is none.

    Raises:
        QualityFailed: a gate refused; nothing was published.
        RuntimeError: dbt failed; its log is under `state`.
    """
    work = unpublished_work(warehouse.ledger(kinds=KINDS), full=full, project=project)
    if work is None:
        return None
    run = ModelRun(f"candidate_{uuid.uuid4().hex[:12]}", work)
    clock = _Clock(run.seconds)
    streams = {
        stream.id: stream for source in load_sources(ROOT / "sources").values() for stream in source.streams.values()
    }
    with warehouse.reader(f"dbt build for {run.candidate}") as as_of:
        queries = {s: warehouse.merged_rows(streams[s], work.batches, as_of) for s in work.streams}
        run.merged_rows = validate_rows(warehouse.raw_url(), load_suites(SUITES / "raw"), queries)
        _refuse(run.merged_rows)
        clock.lap("gate of merged rows")
        run.marts = _build(warehouse, streams, run, state, as_of)
        clock.lap("dbt build")
    suites = [suite for suite in load_suites(SUITES) if suite.mart in run.marts]
    _refuse(validate(warehouse.candidate_url(run.candidate), suites, state / "quality"))
    clock.lap("gate of candidates")
    run.rows = warehouse.publish(run.candidate)
    at = datetime.now(UTC)
    entries = [published_entry(batch, run.candidate, run.candidate, at) for batch in work.batches]
    warehouse.append(*entries, modelled_entry(run.candidate, project, run.candidate, at))
    clock.lap("publish")
    return run


def _build(
    warehouse: Warehouse, streams: dict[str, StreamContract], run: ModelRun, state: Path, as_of: datetime | None
) -> tuple[str, ...]:
    from dbt.cli.main import dbtRunner

    whole = run.work.whole or not warehouse.marts()
    warehouse.begin_candidate(run.candidate, empty=whole)
    days = {s: warehouse.touched_days(streams[s], run.work.batches) for s in run.work.streams}
    arguments = build_arguments(whole, days)
    if not arguments:
        return ()
    environment = warehouse.dbt_environment(run.candidate) | {"MILLRACE_AS_OF": as_of.isoformat() if as_of else ""}
    places = [
        "--project-dir",
        str(PROJECT),
        "--profiles-dir",
        str(PROJECT),
        "--target-path",
        str(state / "dbt"),
        "--log-path",
        str(state / "dbt"),
    ]
    with dbt_variables(environment):
        result = dbtRunner().invoke(["--quiet", *arguments, *places])
    if not result.success:
        raise RuntimeError(f"dbt failed: {result.exception or _failures(state / 'dbt')}")
    return built_marts(state / "dbt")


def _failures(target: Path) -> list[str]:
    results = json.loads((target / "run_results.json").read_text())["results"]
    return [f"{r['unique_id']}: {r['message']}" for r in results if r["status"] in ("error", "fail")]


def _refuse(report: QualityReport) -> None:
    if not report.passed:
        raise QualityFailed("; ".join(str(result) for result in report.failed("stop")))


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._began = seconds, time.monotonic()

    def lap(self, step: str) -> None:
        """Add what passed since the last lap."""
        now = time.monotonic()
        self._seconds[step], self._began = now - self._began, now
