"""The results of a dbt command in; a table of all its nodes in the flow run out, failed ones first."""

import json
from pathlib import Path
from typing import Any

from prefect.artifacts import create_table_artifact

PASSED = ("success", "pass", "no-op")


def show_nodes(target: Path, candidate: str) -> None:
    """Show the nodes of the last command, as an artifact of the run; nothing when dbt got no results at all."""
    rows = node_rows(target)
    if rows:
        passed = sum(row["status"] in PASSED for row in rows)
        description = f"dbt nodes of `{candidate}`: {passed} of {len(rows)} passed"
        create_table_artifact(rows, key="dbt-nodes", description=description)


def node_rows(target: Path) -> list[dict[str, Any]]:
    """Return a row for each node, with its name as task runs have it, status, start, seconds and message."""
    results = target / "run_results.json"
    if not results.exists():
        return []
    rows = [_row(result) for result in json.loads(results.read_text())["results"]]
    return sorted(rows, key=lambda row: row["status"] in PASSED)


def _row(result: dict[str, Any]) -> dict[str, Any]:
    kind, _, name = str(result["unique_id"]).split(".")[:3]
    starts = [step["started_at"] for step in result["timing"] if step["started_at"]]
    return {
        "node": f"{kind} {name}",
        "status": result["status"],
        "started": min(starts, default=""),
        "seconds": round(result["execution_time"], 2),
        "message": result["message"] or "",
    }
