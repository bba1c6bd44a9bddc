"""A model run without an orchestrator: the steps of the flow `model` in one process, each timed."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from millrace.contracts.source import load_sources
from millrace.domain.ledger import modelled_entry, published_entry
from millrace.domain.model import BuiltCandidate, ModelWork, model_work
from millrace.domain.parts import RefusedPart
from millrace.project import current_project
from millrace.quality.gate import validate, validate_rows
from millrace.quality.report import QualityReport
from millrace.quality.suites import load_suites
from millrace.warehouse.port import Warehouse
from tasks.model.candidate import Builder
from tasks.model.dbt import CANDIDATE, build_failures, dbt_variables
from tasks.model.kept_manifests import KeptManifests
from tasks.model.publish_marts import switch
from tasks.model.quality_results import broken_suites
from tasks.model.refuse import refusal
from tasks.model.validate_candidates import refuse_marts


@dataclass
class ModelRun:
    """The marts that a run built, the reports of its gates, the refused parts, and the seconds of each step."""

    candidate: str
    work: ModelWork
    marts: tuple[str, ...] = ()
    merged_rows: QualityReport = field(default_factory=lambda: QualityReport(()))
    candidates: QualityReport = field(default_factory=lambda: QualityReport(()))
    refused: tuple[RefusedPart, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds.values())


def run_model(warehouse: Warehouse, state: Path, *, full: bool = False, project: str = "") -> ModelRun | None:
    """Check, build, validate and publish the pending work; return None when there is none.

    Raises:
        QualityFailed: a gate refused everything; nothing was published.
        RuntimeError: dbt could build nothing.
    """
    newest, streams_of_all = warehouse.newest_model(), warehouse.changed_streams() if full else ()
    built_by = newest.detail if newest else ""
    work = model_work(warehouse.unpublished(), built_by=built_by, project=project, full=streams_of_all)
    if work is None:
        return None
    run = ModelRun(f"candidate_{uuid.uuid4().hex[:16]}", work)
    clock = _Clock(run.seconds)
    streams = {
        stream.id: stream
        for source in load_sources(current_project().sources).values()
        for stream in source.streams.values()
    }
    with warehouse.reader(f"dbt build for {run.candidate}") as as_of:
        batches = None if work.full else work.batches
        queries = {s: warehouse.merged_rows(streams[s], batches, as_of) for s in work.streams}
        run.merged_rows = validate_rows(warehouse.raw_url(), load_suites(current_project().raw_expectations), queries)
        clock.lap("gate of merged rows")
        of_batch = {entry.batch_id: f"{entry.source}.{entry.stream}" for entry in warehouse.unpublished(as_of)}
        begun = BuiltCandidate(candidate=run.candidate, work=work, marts=(), stream_of=of_batch, project=project)
        built = Builder(warehouse, streams, (), as_of, _dbt).build(begun, broken_suites(run.merged_rows))
        _refuse(built)
        clock.lap("dbt build")
    suites = [suite for suite in load_suites(current_project().expectations) if suite.mart in built.marts]
    state.mkdir(parents=True, exist_ok=True)
    run.candidates = validate(warehouse.candidate_url(run.candidate), suites, state / "quality.json")
    built = refuse_marts(built, broken_suites(run.candidates))
    _refuse(built)
    run.marts, run.refused = built.marts, built.refused
    clock.lap("gate of candidates")
    run.rows = switch(warehouse, built)
    at = datetime.now(UTC)
    entries = [published_entry(batch, run.candidate, run.candidate, at) for batch in built.work.batches]
    warehouse.append(*entries, modelled_entry(run.candidate, project, run.candidate, at, built.owed))
    clock.lap("publish")
    return run


def _dbt(arguments: list[str], environment: Mapping[str, str], target: Path) -> None:
    """Run dbt without Prefect. Raises RuntimeError."""
    from dbt.cli.main import dbtRunner

    from tasks.model.parse import parsed_manifest, write_graph

    project = current_project().dbt_project
    manifest = parsed_manifest(project, environment, environment[CANDIDATE], KeptManifests(None))
    write_graph(manifest, target)
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    targets = ["--target-path", str(target), "--log-path", str(target), "--log-level-file", "none"]
    with dbt_variables(environment):
        result = dbtRunner(manifest).invoke(["--quiet", *arguments, *folders, *targets])
    if not result.success:
        raise RuntimeError(f"dbt failed: {result.exception or '; '.join(build_failures(target).values())}")


def _refuse(built: BuiltCandidate) -> None:
    if built.is_empty:
        raise refusal(built.candidate, built.refused)


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._began = seconds, time.monotonic()

    def lap(self, step: str) -> None:
        """Add what passed since the last lap."""
        now = time.monotonic()
        self._seconds[step], self._began = now - self._began, now
