"""A whole way on another project than the demo: the files of a shop in, a mart that its gate lets through out."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import new_state
from tests.support.servers import ROOT, wait_until

LIMIT_S, WAIT_S = 1800, 300.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT_S)]
MART = "select customer, count(*) as orders, sum(total) as total from {{ ref('stg_shop_orders') }} group by customer\n"
MART_PAGE = """models:
  - name: customer_totals
    description: One row per customer.
    columns:
      - {name: customer, description: Name of the customer., tests: [unique, not_null]}
"""
GATE = """mart: customer_totals
expectations:
  - {type: expect_column_values_to_be_between, args: {column: total, min_value: 0}}
"""
SHOWN = "SELECT customer, orders, CAST(total AS VARCHAR) AS total FROM marts.customer_totals ORDER BY customer"
BROKEN = "SELECT suite FROM ops.quality WHERE NOT success"
KINDS = "SELECT DISTINCT kind FROM ops.ledger ORDER BY kind"


@dataclass(frozen=True)
class Shop:
    """A project, the folder that its source reads, and the home of the user."""

    project: Path
    drop: Path
    home: Path

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command line of `millrace` in the project's folder; return its output."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {"HOME": str(self.home), "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-m", "cli", *command],
            cwd=self.project,
            env=env,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def query(self, sql: str) -> Any:
        """Return the rows of the warehouse and its marts."""
        return json.loads(self.run("sql", sql, "--format", "json"))

    def marts(self) -> Any:
        """Return the rows of the mart; none before the first publication, by whichever run makes it."""
        tables = json.loads(self.run("sql", "--format", "json"))
        return self.query(SHOWN) if "marts.customer_totals" in {row["table"] for row in tables} else []

    def write(self, file: str, text: str) -> None:
        path = self.project / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def drop_file(self, file: str, *rows: str) -> None:
        """Put a file into the folder that the source reads."""
        (self.drop / "orders" / file).write_text("\n".join(["id,customer,total", *rows, ""]))

    def merge_all(self) -> None:
        """Bring all files to the merged tables."""
        self.run("start", "ingest", "-p", "source=shop")
        self.run("start", "reconcile")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A project with a source and a mart, which is up, and ended after the test."""
    shop = Shop(tmp_path / "shop", tmp_path / "drop", tmp_path / "home")
    for folder in (shop.project, shop.drop / "orders", shop.home):
        folder.mkdir(parents=True)
    shop.run("init", ".")
    shop.drop_file("1.csv", "1,Ada,1.50", "2,Ada,2.25", "3,Grace,4.00")
    new_state(shop.project / ".millrace")
    try:
        shop.run("up")
        url = f"url={shop.drop}"
        shop.run("source", "add", "shop", "--connector", "files", "--config", url, "--streams", "orders")
        shop.write("dbt_project/models/marts/customer_totals.sql", MART)
        shop.write("dbt_project/models/marts/customer_totals.yml", MART_PAGE)
        shop.write("expectations/customer_totals.yaml", GATE)
        shop.run("deploy")
        yield shop
    finally:
        shop.run("down")


def test_files_become_a_mart_that_the_gate_guards(shop: Shop) -> None:
    shop.merge_all()
    shop.run("start", "model")
    right = [
        {"customer": "Ada", "orders": 2, "total": "3.75"},
        {"customer": "Grace", "orders": 1, "total": "4.00"},
    ]
    wait_until(lambda: shop.marts() == right, "the mart has the first file", WAIT_S)
    kinds = {"merged", "announced", "published"}
    wait_until(lambda: {row["kind"] for row in shop.query(KINDS)} >= kinds, "the ledger has each step", WAIT_S)

    shop.drop_file("2.csv", "4,Edith,-1.00")
    shop.merge_all()  # whose event starts the model
    wait_until(lambda: shop.query(BROKEN) != [], "the gate has refused the second file", WAIT_S)
    assert "customer_totals" in shop.query(BROKEN)[0]["suite"]
    assert shop.marts() == right, "readers keep what the gate let through"

    shop.drop_file("3.csv", "5,Edith,1.50")
    shop.merge_all()
    shop.run("start", "model")
    mended = [right[0], {"customer": "Edith", "orders": 2, "total": "0.50"}, right[1]]
    wait_until(lambda: shop.marts() == mended, "the mart has the third file, and with it the second", WAIT_S)
