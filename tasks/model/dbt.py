"""dbt through prefect-dbt: a command in; task runs, a table of all nodes, logs and failures in the run out."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from millrace.project import current_project
from millrace.settings import load_settings
from tasks.context import open_lake
from tasks.model.kept_manifests import KeptManifests
from tasks.model.node_table import show_nodes

REPORT_S = 60.0
FAILED = ("error", "fail", "runtime error")
CANDIDATE = "MILLRACE_CANDIDATE"
AS_OF = "MILLRACE_AS_OF"


def invoke_dbt(arguments: list[str], environment: Mapping[str, str], target: Path) -> None:
    """Run one dbt command with its artifacts in `target`; raises with dbt's message when a node fails.

    When the environment names a candidate, dbt gets a manifest and parses nothing, and the run gets a table of the
    nodes; `manifest.json` then has only what the platform reads.
    """
    from prefect_dbt import PrefectDbtSettings  # imports dbt, which only this process needs

    from tasks.model.dbt_runner import Runner
    from tasks.model.parse import parsed_manifest, write_graph

    project, candidate, manifest = current_project().dbt_project, environment.get(CANDIDATE, ""), None
    if candidate:
        manifest = parsed_manifest(project, environment, candidate, KeptManifests(open_lake()))
        write_graph(manifest, target)
    settings = PrefectDbtSettings(
        project_dir=project, profiles_dir=project, target_path=target.absolute(), log_level="warn"
    )
    runner = Runner(settings=settings, manifest=manifest, every_node=load_settings().model.task_runs == "all")
    with dbt_variables({**environment, "DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(target / "logs")}):
        try:
            runner.invoke(arguments, log_level_file="none")
        finally:
            if candidate:
                show_nodes(target, candidate)


def build_arguments(whole: bool, changed: Mapping[str, list[str] | None], absent: Collection[str] = ()) -> list[str]:
    """Return dbt's arguments for a full refresh, or for the models downstream of the changed streams.

    `changed` holds by stream the days of its changed rows, None for unknown days; without a changed stream there is
    nothing to run. Models downstream of `absent` streams, which have no table, are not built. Unit tests do not depend
    on data: they run with a full refresh only.
    """
    exclude = ["--exclude", *(f"source:{stream}+" for stream in sorted(absent))] if absent else []
    if whole:
        return ["build", "--full-refresh", *exclude]
    if not changed:
        return []
    select = [f"source:{stream}+" for stream in sorted(changed)]
    return [
        "build",
        "--exclude-resource-type",
        "unit_test",
        "--vars",
        json.dumps({"changed": dict(changed)}),
        "--select",
        *select,
        *exclude,
    ]


def rebuild_arguments(selectors: Collection[str], absent: Collection[str] = ()) -> list[str]:
    """Return dbt's arguments for a full refresh of what some selectors select."""
    exclude = ["--exclude", *(f"source:{stream}+" for stream in sorted(absent))] if absent else []
    return ["build", "--full-refresh", "--select", *sorted(selectors), *exclude]


def build_failures(target: Path) -> dict[str, str]:
    """Return why nodes failed in the last command, by dbt's unique id; empty when dbt got no results at all."""
    results = target / "run_results.json"
    if not results.exists():
        return {}
    return {
        str(result["unique_id"]): f"{str(result['unique_id']).split('.')[2]}: {result['message']}"
        for result in json.loads(results.read_text())["results"]
        if result["status"] in FAILED
    }


def built_marts(target: Path) -> tuple[str, ...]:
    """Return the marts that the last command built, from its artifacts."""
    results = json.loads((target / "run_results.json").read_text())["results"]
    nodes = json.loads((target / "manifest.json").read_text())["nodes"]
    built = (nodes[r["unique_id"]] for r in results if r["unique_id"] in nodes)
    return tuple(sorted(n["name"] for n in built if n["resource_type"] == "model" and "marts" in n["fqn"]))


def project_digest(project: Path) -> str:
    """Return a digest of the project's models, schemas and documentation."""
    digest = hashlib.sha256()
    for path in sorted(project.rglob("*")):
        inner = path.relative_to(project)
        if path.suffix in (".sql", ".yml", ".md") and inner.parts[0] != "target":
            digest.update(inner.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def dbt_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for dbt's `env_var` until the last node's task run has ended."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        _await_nodes()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _await_nodes() -> None:
    """Wait for prefect-dbt's threads: each reports one node, and the last ones outlive the dbt command."""
    until = time.monotonic() + REPORT_S
    for thread in threading.enumerate():
        if thread.name.endswith("(run_task)"):
            thread.join(max(0.0, until - time.monotonic()))
