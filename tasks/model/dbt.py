"""dbt through prefect-dbt: a command in; one task run per node, logs and failures in the run out."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from millrace.settings.tree import ROOT

PROJECT = ROOT / "dbt_project"
REPORT_S = 60.0


def invoke_dbt(arguments: list[str], environment: Mapping[str, str], target: Path) -> None:
    """Run one dbt command with its artifacts in `target`; raises with dbt's message when a node fails."""
    from prefect_dbt import PrefectDbtSettings  # imports dbt, which only this process needs

    from tasks.model.dbt_runner import Runner

    settings = PrefectDbtSettings(
        project_dir=PROJECT, profiles_dir=PROJECT, target_path=target.absolute(), log_level="warn"
    )
    with dbt_variables({**environment, "DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(target / "logs")}):
        Runner(settings=settings).invoke(arguments)


def build_arguments(whole: bool, changed: Mapping[str, list[str] | None]) -> list[str]:
    """Return dbt's arguments for a full refresh, or for the models downstream of the changed streams.

    `changed` holds by stream the days of its changed rows, None for unknown days; without a changed stream there is
    nothing to run. Unit tests do not depend on data: they run with a full refresh only.
    """
    if whole:
        return ["build", "--full-refresh"]
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
    ]


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
        if path.suffix in (".sql", ".yml", ".md") and "target" not in path.parts:
            digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes())
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
