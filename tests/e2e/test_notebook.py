"""The notebook, executed whole beside the stack."""

import re
from pathlib import Path
from typing import Any

import duckdb
import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.stack import Stack
from tests.support.servers import ROOT

NOTEBOOK = ROOT / "notebooks" / "lake.ipynb"


@pytest.fixture(scope="module")
def texts(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each cell printed or showed."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    home = tmp_path_factory.mktemp("jupyter")
    env = stack.place.environment() | {"IPYTHONDIR": str(home), "JUPYTER_RUNTIME_DIR": str(home)}
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "notebooks")}}
    )
    client.execute(env=env)
    return ["".join(_words(output) for output in cell.get("outputs", ())) for cell in notebook.cells]


def _words(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def test_it_finds_every_file_that_landed(stack: Stack, texts: list[str]) -> None:
    (told,) = [text for text in texts if "syncs" in text]
    files = [
        info.name for info in stack.platform.lake.list("raw/airport_ops/weather/") if info.name.endswith(".parquet")
    ]
    assert re.search(rf"weather\s+{len({Path(name).parent for name in files})}\s+{len(files)}\s", told), told


def test_its_figures_are_those_of_the_marts(stack: Stack, texts: list[str]) -> None:
    with duckdb.connect(str(stack.place.marts), read_only=True) as db:
        query = "SELECT count(*), avg(dep_delay) FROM marts.fct_flights WHERE departed_at IS NOT NULL"
        ((flights, delay),) = db.execute(query).fetchall()
    assert [text for text in texts if f"{flights:,} flights departed, {delay:.1f} minutes late on average" in text]


def test_it_draws_a_chart_and_ends_with_figures(texts: list[str]) -> None:
    assert [text for text in texts if "alt.Chart" in text]
    assert "wind_speed" in texts[-1]


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
