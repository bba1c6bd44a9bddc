"""How old the newest row of each stream is, beside its contract, by dbt: `python -m tasks.model.source_freshness`.

`reconcile` tells when each stream was merged last, by the ledger; this looks at the rows themselves.
"""

import json
import sys
import tempfile
from pathlib import Path

from millrace.domain.errors import MillraceError, WarehouseRefused
from millrace.domain.types import Frozen
from millrace.settings import load_settings
from millrace.warehouse.port import Warehouse, open_warehouse
from tasks.model.dbt import PROJECT, dbt_variables

CANDIDATE = "candidate_of_no_run"


class Age(Frozen):
    """A stream whose contract promises freshness: seconds since its newest row was extracted, and how many may be."""

    stream: str
    age_s: int
    limit_s: int

    @property
    def kept(self) -> bool:
        """Whether the newest row is young enough."""
        return self.age_s <= self.limit_s


def source_freshness(warehouse: Warehouse) -> list[Age]:
    """Run `dbt source freshness`, holding writers off where they would be in the way.

    Raises:
        WarehouseBusy: a writer holds the warehouse.
        WarehouseRefused: a table can't be read, or has no rows.
    """
    from dbt.cli.main import dbtRunner  # costs seconds

    with tempfile.TemporaryDirectory() as folder, warehouse.reader("dbt source freshness"):
        environment = warehouse.dbt_environment(CANDIDATE) | {"MILLRACE_CANDIDATE_PATH": f"{folder}/none.duckdb"}
        places = [
            "--project-dir",
            str(PROJECT),
            "--profiles-dir",
            str(PROJECT),
            "--target-path",
            folder,
            "--log-path",
            folder,
        ]
        with dbt_variables(environment):
            done = dbtRunner().invoke(["--quiet", "source", "freshness", *places])
        found = Path(folder) / "sources.json"
        if not found.exists():
            raise WarehouseRefused(f"dbt source freshness: {done.exception or 'it told nothing'}")
        return [_age(result) for result in json.loads(found.read_text())["results"]]


def _age(result: dict[str, object]) -> Age:
    name = ".".join(str(result["unique_id"]).split(".")[-2:])
    criteria = result.get("criteria")
    if not isinstance(criteria, dict):
        raise WarehouseRefused(f"dbt source freshness of {name}: {result.get('error') or result.get('status')}")
    limit = criteria["error_after"]
    seconds = {"minute": 60, "hour": 3600, "day": 86400}[limit["period"]] * int(limit["count"])
    return Age(stream=name, age_s=round(float(str(result["max_loaded_at_time_ago_in_s"]))), limit_s=seconds)


def main() -> int:
    """Print a line for each stream that promises freshness; 1 when one is older than its contract allows."""
    given = load_settings().warehouse
    warehouse = open_warehouse(
        given.url,
        given.marts_url,
        given.lock_timeout_s,
        endpoint=given.endpoint,
        max_bytes_billed=given.max_bytes_billed,
    )
    try:
        ages = source_freshness(warehouse)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for age in ages:
        told = "fresh" if age.kept else "too old"
        print(f"{age.stream}: newest row {age.age_s:,} s old, {age.limit_s:,} s allowed: {told}")
    return 0 if all(age.kept for age in ages) else 1


if __name__ == "__main__":
    sys.exit(main())
