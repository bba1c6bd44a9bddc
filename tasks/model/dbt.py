"""Runs dbt through prefect-dbt: one task run per node, logs and failures in the run."""

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
    """Run one dbt command; raises with dbt's own message when a node fails. Artifacts go to `target`."""
    from prefect_dbt import PrefectDbtSettings  # imports dbt, which only this process needs

    from tasks.model.dbt_runner import Runner

    settings = PrefectDbtSettings(
        project_dir=PROJECT, profiles_dir=PROJECT, target_path=target.absolute(), log_level="warn"
    )
    with dbt_variables({**environment, "DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(target / "logs")}):
        Runner(settings=settings).invoke(arguments)


def build_arguments(whole: bool, changed: Mapping[str, list[str] | None]) -> list[str]:
    """Arguments that make dbt build everything from nothing, or what is downstream of the changed streams.

    `changed` gives, by stream, the days in which its rows changed, None when they are not known. Nothing changed:
    nothing to run. Unit tests need no data: they are run when the project changed, with everything else.
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
    """Marts that the last command built, by the artifacts it left."""
    results = json.loads((target / "run_results.json").read_text())["results"]
    nodes = json.loads((target / "manifest.json").read_text())["nodes"]
    built = (nodes[r["unique_id"]] for r in results if r["unique_id"] in nodes)
    return tuple(sorted(n["name"] for n in built if n["resource_type"] == "model" and "marts" in n["fqn"]))


def project_digest(project: Path) -> str:
    """Digest of everything that dbt builds from."""
    digest = hashlib.sha256()
    for path in sorted(project.rglob("*")):
        if path.suffix in (".sql", ".yml", ".md") and "target" not in path.parts:
            digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def dbt_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Give dbt's `env_var` these values until the last node's task run has ended."""
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
    """Wait for prefect-dbt's threads: each reports one node, and the last go on after dbt has ended."""
    until = time.monotonic() + REPORT_S
    for thread in threading.enumerate():
        if thread.name.endswith("(run_task)"):
            thread.join(max(0.0, until - time.monotonic()))
