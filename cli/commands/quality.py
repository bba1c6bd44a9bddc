"""`millrace quality validate`, `millrace freshness`: one step of a model run by itself."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import codes, show
from cli.environment import enter
from millrace.domain.errors import MillraceError

Json = Annotated[bool, typer.Option("--json", help="one JSON document")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    quality = typer.Typer(no_args_is_help=True, help="Expectations of the marts: validate a candidate.")
    quality.command(epilog="Example: millrace quality validate --candidate duckdb:///candidate.duckdb")(validate)
    quality.callback()(lambda: None)
    app.add_typer(quality, name="quality", rich_help_panel="Work")
    app.command(rich_help_panel="Look", epilog="Example: millrace freshness --json")(freshness)


def validate(
    candidate: Annotated[str, typer.Option(help="duckdb:///FILE or bigquery://PROJECT/DATASET")],
    suites: Annotated[Path, typer.Option(help="folder of suites")] = Path("expectations"),
    docs: Annotated[Path | None, typer.Option(help="folder for Data Docs")] = None,
    as_json: Json = False,
) -> None:
    """Validate a candidate; exit code 1 when it must not be published, 2 when it can't be validated."""
    from millrace.quality.docs import pages
    from millrace.quality.gate import validate
    from millrace.quality.page import page_of
    from millrace.quality.render import render
    from millrace.quality.suites import load_suites

    try:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "results.json"
            report = validate(candidate, load_suites(suites), results)
            if docs:
                render([results.read_bytes()], docs)
                (docs / "index.html").write_text(page_of(report.results, datetime.now(UTC), pages(docs)))
    except MillraceError as error:
        show.error(f"{type(error).__name__}: {error}")
        raise typer.Exit(codes.USAGE) from None
    if as_json:
        show.as_json([result.model_dump(mode="json") for result in report.results])
    else:
        for result in report.results:
            mark = "ok  " if result.success else result.severity
            show.line(f"{mark} {result}", "good" if result.success else "bad")
        show.line(f"{sum(r.success for r in report.results)} of {len(report.results)} expectations hold")
    if not report.passed:
        raise typer.Exit(codes.WRONG)


def freshness(context: typer.Context, as_json: Json = False) -> None:
    """Compare the age of each stream's newest row with its contract by dbt; exit code 1 when one is too old."""
    enter(context, prefect=False)
    from cli.platform import platform_warehouse
    from tasks.model.source_freshness import source_freshness

    with platform_warehouse() as warehouse:
        ages = source_freshness(warehouse)
    if as_json:
        show.as_json([age.model_dump() for age in ages])
    else:
        for age in ages:
            state = "fresh" if age.kept else "too old"
            text = f"{age.stream}: newest row {age.age_s:,} s old, {age.limit_s:,} s allowed: {state}"
            show.line(text, "good" if age.kept else "bad")
    if not all(age.kept for age in ages):
        raise typer.Exit(codes.WRONG)
