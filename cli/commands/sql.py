"""`millrace sql`: one read-only query of the marts, the merged rows and the ledger."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import show
from cli.environment import enter

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.warehouse.port import Warehouse

ROWS = 1000
LEDGER = {
    "ops.ledger": "every batch, publication and announcement",
    "ops.quarantine": "rows and files in quarantine, with the reason",
    "ops.quality": "the results of every expectation",
}


class Format(StrEnum):
    """The output of a query."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command(
        rich_help_panel="Look",
        epilog='Examples: millrace sql "SELECT * FROM marts.orders_daily" · '
        'millrace sql "SELECT count(*) AS orders FROM raw_shop.orders_live" --format json · '
        "millrace sql \"SELECT * FROM ops.ledger WHERE at > '2026-01-01'\" --limit 5 · "
        'millrace sql "SELECT * FROM marts.orders_daily" --limit 0 --format parquet --output orders.parquet',
    )(sql)


def sql(
    context: typer.Context,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="SQL",
            help="one SELECT on marts.<mart>, raw_<source>.<stream>_live (merged rows) and ops.<table> (the ledger);"
            " by default a list of them",
        ),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="the output")] = Format.TABLE,
    limit: Annotated[int, typer.Option(min=0, help="most rows to return; 0: all")] = ROWS,
    output: Annotated[Path | None, typer.Option(help="the file, of --format parquet")] = None,
) -> None:
    """Query the marts, the merged rows and the ledger, read-only."""
    if format_ == Format.PARQUET and output is None and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is binary: name a file with --output")
    if format_ != Format.PARQUET and output is not None:
        raise typer.BadParameter("--output is for --format parquet; redirect the other formats with `>`")
    enter(context, prefect=False)
    from cli.platform import platform_warehouse

    with platform_warehouse() as warehouse:
        table = answer(warehouse, query, limit + 1 if limit else None) if query else tables(warehouse)
    cut = bool(limit) and table.num_rows > limit
    if cut:
        table = table.slice(0, limit)
    if format_ == Format.PARQUET:
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, output or sys.stdout.buffer)
    else:
        write(table, format_)
    if cut:
        show.note(f"these are the first {limit:,} rows; all of them: --limit 0")


def answer(warehouse: "Warehouse", query: str, limit: int | None) -> "pa.Table":
    """Return the rows of a query.

    Raises:
        WarehouseRefused: with the warehouse's message, and how to see what it has.
    """
    from millrace.domain.errors import WarehouseRefused

    try:
        return warehouse.query(query, limit)
    except WarehouseRefused as error:
        raise WarehouseRefused(f"{error}; `millrace sql` without a query lists the tables") from None


def tables(warehouse: "Warehouse") -> "pa.Table":
    """Return the names that a query may use, with what their rows are."""
    import pyarrow

    from millrace.contracts.source import load_sources
    from millrace.domain import names
    from millrace.project import current_project

    streams = [s for source in load_sources(current_project().sources).values() for s in source.streams.values()]
    found = {f"marts.{mart}": f"the published mart, {rows:,} rows" for mart, rows in warehouse.marts().items()}
    for stream in streams:
        if warehouse.missing_columns(stream) is not None:
            name = f"{names.raw_schema(stream.source)}.{names.live_view(stream.stream)}"
            found[name] = f"the merged rows of {stream.id}, without deleted ones"
    found |= LEDGER
    return pyarrow.table({"table": list(found), "rows": list(found.values())})


def write(table: "pa.Table", format_: Format) -> None:
    """Write rows to standard output, as text."""
    columns, rows = table.column_names, table.to_pylist()
    if format_ == Format.JSON:
        return show.as_json(rows)
    cells = ([row[column] for column in columns] for row in rows)
    if format_ == Format.CSV:
        return show.as_csv(columns, cells)
    show.table(columns, cells)
    show.line(f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}", "soft")
