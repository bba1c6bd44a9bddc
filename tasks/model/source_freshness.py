"""Streams in; the age of each newest row, read by dbt from the rows themselves, beside its contract's limit, out."""

import json
import tempfile
from pathlib import Path

from millrace.domain.errors import WarehouseRefused
from millrace.domain.types import Frozen
from millrace.project import current_project
from millrace.warehouse.port import Warehouse
from tasks.model.dbt import dbt_variables

CANDIDATE = "candidate_of_no_run"


class Age(Frozen):
    """The age of a stream's newest row since its extraction, and the limit of its contract, in seconds."""

    stream: str
    age_s: int
    limit_s: int

    @property
    def kept(self) -> bool:
        """Return True when the newest row is within the limit."""
        return self.age_s <= self.limit_s


def source_freshness(warehouse: Warehouse) -> list[Age]:
    """Run `dbt source freshness` under a lock against writers, where the engine needs one.

    Raises:
        WarehouseBusy: a writer holds the warehouse.
        WarehouseRefused: a table can't be read, or has no rows.
    """
    from dbt.cli.main import dbtRunner  # costs seconds

    with tempfile.TemporaryDirectory() as folder, warehouse.reader("dbt source freshness"):
        environment = warehouse.dbt_environment(CANDIDATE) | {"MILLRACE_CANDIDATE_PATH": f"{folder}/none.duckdb"}
        folders = [
            "--project-dir",
            str(current_project().dbt_project),
            "--profiles-dir",
            str(current_project().dbt_project),
            "--target-path",
            folder,
            "--log-path",
            folder,
        ]
        with dbt_variables(environment):
            run = dbtRunner().invoke(["--quiet", "--log-level", "none", "source", "freshness", *folders])
        artifact = Path(folder) / "sources.json"
        if not artifact.exists():
            raise WarehouseRefused(f"dbt source freshness: {run.exception or 'no results'}")
        return [_age(result) for result in json.loads(artifact.read_text())["results"]]


def _age(result: dict[str, object]) -> Age:
    name = ".".join(str(result["unique_id"]).split(".")[-2:])
    criteria = result.get("criteria")
    if not isinstance(criteria, dict):
        raise WarehouseRefused(f"dbt source freshness of {name}: {result.get('error') or result.get('status')}")
    limit = criteria["error_after"]
    seconds = {"minute": 60, "hour": 3600, "day": 86400}[limit["period"]] * int(limit["count"])
    return Age(stream=name, age_s=round(float(str(result["max_loaded_at_time_ago_in_s"]))), limit_s=seconds)
