"""Options in; each check and each operation of a run out, with its method, resource, permission and estimated cost."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.cloud.budget import Use
from tests.cloud.checks.all import all_checks
from tests.cloud.cleanup import KINDS
from tests.cloud.discovery import Json
from tests.cloud.expected import expected_of
from tests.cloud.methods import LEAST_QUERY_BYTES, PER_TIB_QUERY, QUERIES, permission, price
from tests.cloud.options import Options
from tests.cloud.suites import load_plan, suite_of

OWN = "millrace-smoke-<run>-*"
COLUMNS = ("step", "title", "method", "resource", "permission", "calls", "dollars")


@dataclass(frozen=True)
class Row:
    """One line of the plan."""

    step: str
    title: str
    method: str
    resource: str
    permission: str
    calls: int = 1
    dollars: float = 0.0


def rows(options: Options) -> Iterator[Row]:
    """Yield what a run with these options does, in order."""
    if not options.clean_up:
        yield from _checks(options)
        yield from _suites(options)
    if options.suites or options.clean_up:
        for kind in KINDS:
            yield _row("clean-up", f"list {kind.name}", kind.list_method, "all", 2)
            yield _row("clean-up", f"remove {kind.name} of the run", kind.delete_method, OWN, 0)


def _row(step: str, title: str, method: str, resource: str, calls: int = 1) -> Row:
    return Row(step, title, method, resource, permission(method), calls, calls * price(method))


def _checks(options: Options) -> Iterator[Row]:
    if not options.checks:
        return
    get = "cloudresourcemanager.projects.get"
    yield _row("check", "number of the project", get, f"projects/{options.target.project}")
    expected = expected_of(options.target, "NUMBER", options.domain)
    for check in all_checks(expected, options.target, suites=bool(options.suites)):
        cost = price(check.method)
        yield Row("check", check.title, check.method, check.resource, check.permission, 1, cost)


def _suites(options: Options) -> Iterator[Row]:
    plan = load_plan()
    if options.suites:
        yield _row("suites", "names of datasets", "bigquery.datasets.list", "all")
    for name in options.suites:
        planned = plan.get(name)
        for method, calls in sorted(planned.calls.items()) if planned else ():
            cost = calls * price(method)
            if method in QUERIES and planned:
                share = calls / sum(n for m, n in planned.calls.items() if m in QUERIES)
                cost += share * planned.tables * LEAST_QUERY_BYTES / 1024**4 * PER_TIB_QUERY
            yield Row(f"suite {name}", suite_of(name).title, method, OWN, permission(method), calls, cost)


def estimate(options: Options) -> Use:
    """Return what the suites of a run are expected to use."""
    plan, total = load_plan(), Use()
    for name in options.suites if not options.clean_up else ():
        if name in plan:
            total = total.add(plan[name].use)
    return total


def table(planned_rows: list[Row]) -> str:
    """Return rows as a table of text."""
    lines = [list(COLUMNS), *([*_cells(row)] for row in planned_rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def _cells(row: Row) -> Iterator[str]:
    calls = str(row.calls) if row.calls else "as found"
    yield from (row.step, row.title, row.method, row.resource, row.permission or "-", calls, f"{row.dollars:.4f}")


def dump(planned_rows: list[Row], options: Options) -> Json:
    """Return the plan as JSON values."""
    return {"plan": [vars(row) for row in planned_rows], "estimate": estimate(options).dump()}
