"""Nothing reads the whole ledger: its port has no method without a bound, and what searches return does not grow."""

import ast
import inspect
import re
from datetime import timedelta
from pathlib import Path

import pytest

from bench.ledger import NOW, fill, search
from millrace.warehouse import port
from millrace.warehouse.bigquery import facts, ledger, look
from millrace.warehouse.bigquery import sql as sql
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from millrace.warehouse.settled import LATEST, settled_before
from tests.support.ledgers import fact
from tests.support.servers import ROOT

CODE = ("beam_job", "tasks", "flows", "blocks", "cli", "local", "millrace")
KNOWN_TO_READ_ALL = {
    "millrace/domain/ledger.py",
    "millrace/warehouse/duckdb/ledger.py",
    "millrace/warehouse/bigquery/facts.py",
    "tasks/reconcile/settle_ledger.py",
}  # by a full run of the model, and by the full scan of reconcile


def production() -> list[tuple[str, str]]:
    """The files of the platform with their text."""
    paths = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    return [(str(path.relative_to(ROOT)), path.read_text()) for path in paths]


def test_facts_are_read_since_an_instant_only() -> None:
    since = inspect.signature(port.Ledger.ledger).parameters["since"]
    assert since.default is inspect.Parameter.empty
    assert "None" not in str(since.annotation)


def test_no_code_reads_all_facts() -> None:
    assert {path for path, text in production() if re.search(r"\bEVER\b", text)} == KNOWN_TO_READ_ALL
    unbounded = [
        f"{path}:{call.lineno}"
        for path, text in production()
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        if call.func.attr == "ledger" and not call.args and not any(k.arg == "since" for k in call.keywords)
    ]
    assert unbounded == []


@pytest.mark.parametrize("module", [facts, ledger, look])
def test_every_query_of_the_ledger_names_its_days(module: object) -> None:
    templates = {name: text for name, text in vars(module).items() if name.isupper() and isinstance(text, str)}
    reads = {name: len(re.findall(r"(?:FROM|JOIN) \{ledger\}", text)) for name, text in templates.items()}
    assert any(reads.values())
    named = {name: len(re.findall(r"`at` >=? @\w*since", text)) for name, text in templates.items() if reads[name]}
    assert named == {name: count for name, count in reads.items() if count}


def test_bigquery_rejects_a_query_of_all_days() -> None:
    ops = sql.create_ops(sql.Namespace.of("bigquery://my-project/EU"))
    created = next(s for s in ops.split(";") if "my-project.ops.ledger`" in s.partition("(")[0])
    assert "PARTITION BY DATE(`at`) CLUSTER BY source, stream, kind" in created
    assert "require_partition_filter = TRUE" in created


def found(folder: Path, merges: int) -> tuple[int, list[str]]:
    """What the searches of a ledger with some merges of the past and one open merge return."""
    folder.mkdir()
    warehouse = DuckDBWarehouse(f"duckdb:///{folder}/w.duckdb", f"duckdb:///{folder}/p.duckdb")
    warehouse.append(fact("merged", "open", NOW, stream="orders"))
    fill(warehouse, 3 * merges, NOW - LATEST - timedelta(hours=1))
    warehouse.settle(settled_before(warehouse, NOW))
    batches = [e.batch_id for e in (*warehouse.unpublished(), *warehouse.unannounced())]
    return search(warehouse, NOW), batches


def test_results_do_not_grow_with_the_past(tmp_path: Path) -> None:
    few, many = found(tmp_path / "few", 100), found(tmp_path / "many", 20_000)
    assert few[1] == many[1] == ["open", "open"]
    assert few[0] == many[0]
