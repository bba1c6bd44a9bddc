"""The tutorial, word by word: from an empty folder and a PostgreSQL to a mart, with the commands of the page."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, postgres
from tests.support.servers import ROOT

LIMIT_S = 2400
pytestmark = [pytest.mark.long, pytest.mark.timeout(LIMIT_S + 300)]
PAGE = ROOT / "docs" / "tutorial.md"
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total numeric(18, 4), ordered_at timestamptz);
INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 20) g;
INSERT INTO orders SELECT g, g % 20 + 1, g + 0.0001, now() FROM generate_series(1, 500) g;
"""
TOTALS = """
SELECT c.id, c.name, count(o.id), sum(o.total) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id
GROUP BY c.id, c.name ORDER BY 4 DESC LIMIT 5
"""


def commands(page: str) -> list[str]:
    """Return the commands of a page's consoles, each with the lines of its heredoc."""
    text = "".join(CONSOLE.findall(page))
    return [part.removeprefix("$ ") for part in re.split(r"^(?=\$ )", text, flags=re.MULTILINE) if part]


@pytest.fixture
def database() -> Iterator[Postgres]:
    with postgres() as server:
        server.query(TABLES)
        yield server


def test_tutorial_makes_a_mart_of_a_database(tmp_path: Path, database: Postgres) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    url = f"postgresql://prefect:secret@127.0.0.1:{database.port}/postgres"
    env = {"HOME": str(home), "PATH": path, "SHOP_URL": url, "COLUMNS": "200"}
    script = "\n".join(["set -eo pipefail", *commands(PAGE.read_text())])
    try:
        ran = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=LIMIT_S
        )
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    finally:
        subprocess.run(["millrace", "down"], cwd=tmp_path / "shop", env=env, check=False)
    shown = re.sub(r"[ \t]+", " ", ran.stdout)
    for row in database.query(TOTALS):
        number, name, orders, total = row.split("|")
        assert f"{number} {name} {orders} {total}" in shown


def test_tutorial_has_few_lines_to_type() -> None:
    typed = [command for command in commands(PAGE.read_text()) if not command.startswith("cat ")]
    assert len(typed) <= 13
