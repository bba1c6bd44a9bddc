"""The notebook, executed whole beside the stack."""

import re
from pathlib import Path
from typing import Any

import duckdb
import nbformat
import pytest
from nbclient import NotebookClient

from local.stack.environment import process_environment
from tests.e2e.stack import Stack
from tests.support.servers import ROOT

pytestmark = pytest.mark.demo

NOTEBOOK = ROOT / "docs" / "notebooks" / "lake.ipynb"


@pytest.fixture(scope="module")
def texts(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the output of each cell."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    home = tmp_path_factory.mktemp("jupyter")
    env = process_environment(stack.local) | {"IPYTHONDIR": str(home), "JUPYTER_RUNTIME_DIR": str(home)}
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "docs" / "notebooks")}}
    )
    client.execute(env=env)
    return ["".join(_words(output) for output in cell.get("outputs", ())) for cell in notebook.cells]


def _words(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def test_notebook_lists_every_landed_file(stack: Stack, texts: list[str]) -> None:
    (table,) = [text for text in texts if "syncs" in text]
    files = [
        info.name for info in stack.platform.lake.list("raw/airport_ops/weather/") if info.name.endswith(".parquet")
    ]
    assert re.search(rf"weather\s+{len({Path(name).parent for name in files})}\s+{len(files)}\s", table), table


def test_notebook_figures_match_the_marts(stack: Stack, texts: list[str]) -> None:
    with duckdb.connect(str(stack.local.marts), read_only=True) as db:
        query = "SELECT count(*), avg(dep_delay) FROM marts.fct_flights WHERE departed_at IS NOT NULL"
        ((flights, delay),) = db.execute(query).fetchall()
    assert [text for text in texts if f"{flights:,} flights departed, {delay:.1f} minutes late on average" in text]


def test_notebook_draws_a_chart_and_figures(texts: list[str]) -> None:
    assert [text for text in texts if "alt.Chart" in text]
    assert "wind_speed" in texts[-1]


def test_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
