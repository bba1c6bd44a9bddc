"""Checks of datasets: location, expiry, time travel, rights; and of the quotas that the platform needs."""

from collections.abc import Iterator

from tests.cloud.checks.check import Check, Project, Unknown, differences
from tests.cloud.checks.rights import dataset, rights_check
from tests.cloud.expected import Expected
from tests.cloud.target import Target

AREA = "warehouse"
QUOTAS = {"CPUS": 24, "IN_USE_ADDRESSES": 4, "SSD_TOTAL_GB": 200}  # two workers, server, gateways, ten Dataflow workers


def _dataset(name: str) -> Check:
    def look(project: Project) -> Iterator[str]:
        has, wants = dataset(project, name), project.expected.resources["datasets"][name]
        expiry = wants.get("default_table_expiration_ms")
        yield from differences(
            {
                "location": (wants["location"].upper(), str(has.get("location")).upper()),
                "hours of time travel": (
                    int(wants.get("max_time_travel_hours") or 168),
                    int(has.get("maxTimeTravelHours") or 168),
                ),
                "expiry of tables in ms": (int(expiry or 0), int(has.get("defaultTableExpirationMs") or 0)),
            }
        )

    return Check(AREA, f"dataset {name}", "bigquery.datasets.get", f"datasets/{name}", look)


def _quotas(target: Target) -> Check:
    def look(project: Project) -> Iterator[str]:
        path = f"/compute/v1/projects/{target.project}/regions/{target.region}"
        response = {q["metric"]: q for q in project.clients.rest("compute", "GET", path).get("quotas", [])}
        if not response:
            raise Unknown(f"The region {target.region} tells no quotas.", "look at the quotas in the console")
        for metric, needed in QUOTAS.items():
            quota = response.get(metric, {"limit": 0, "usage": 0})
            free = float(quota["limit"]) - float(quota["usage"])
            if free < needed:
                yield f"Of the quota {metric} {free:.0f} of {quota['limit']:.0f} are free, and {needed} are needed."

    repair = "ask for a higher quota in the console, under IAM & Admin, Quotas"
    title = f"quotas of {target.region}"
    return Check("quotas", title, "compute.regions.get", f"regions/{target.region}", look, "They suffice.", repair)


def warehouse_checks(expected: Expected, target: Target) -> Iterator[Check]:
    """Yield the checks of datasets and quotas."""
    for name in sorted(expected.names("datasets")):
        yield _dataset(name)
        yield rights_check(AREA, "datasets", name)
    yield _quotas(target)
