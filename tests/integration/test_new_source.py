"""`millrace source add` up to the secrets: a connector is run, and a project gets a source that its checks accept."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cli.connector_runs import ConnectorFailed, ConnectorRun
from cli.new_project import create_project
from cli.new_source import check_new, find_connector, propose_source, write_source
from millrace.contracts.generated import check
from millrace.contracts.source import load_sources
from millrace.domain.errors import SettingsError
from millrace.project import VARIABLE, Project

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    create_project(tmp_path / "shop")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "shop"))
    return Project(tmp_path / "shop")


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "orders.csv").write_text("id,total,order\n1,1.50,x\n2,2.25,y\n")
    (folder / "visits.csv").write_text("id\n" + "\n".join(str(n) for n in range(500)) + "\n")
    return folder


def test_added_source_passes_the_checks(project: Project, drop: Path) -> None:
    known = find_connector("files")
    config = {"url": str(drop)}
    run = ConnectorRun(known.image, config)
    assert set(run.spec()["properties"]) >= {"url", "service_account"}
    new = propose_source("shop", known, config, run, ["orders"], "sales", NOW)
    written = [path.relative_to(project.folder).as_posix() for path in write_source(project, new)]
    assert {"sources/shop.yaml", "dbt_project/models/staging/stg_shop_orders.sql"} <= set(written)
    assert "expectations/raw/shop.orders.yaml" in written
    check(project.folder)
    orders = load_sources(project.sources)["shop"].streams["orders"]
    assert (orders.mode, orders.key, orders.owner) == ("append", ("source_file", "source_row"), "sales")
    assert orders.columns["total"].type == "decimal(38,2)"
    assert "adapter.quote('order')" in (project.dbt_project / "models/staging/stg_shop_orders.sql").read_text()
    with pytest.raises(SettingsError, match="`millrace source refresh shop` shows"):
        check_new(project, "shop", force=False)


def test_sample_is_limited_and_exact(project: Project, drop: Path) -> None:
    run = ConnectorRun("millrace/source-files", {"url": str(drop)})
    samples = run.sample(run.streams(), 3)
    assert [Decimal(row["total"]) for row in samples["orders"]] == [Decimal("1.50"), Decimal("2.25")]
    assert len(samples["visits"]) == 3


def test_failures_are_sentences(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ConnectorFailed, match="is not a folder on this machine"):
        ConnectorRun("millrace/source-files", {"url": str(tmp_path / "no")}).check()
    with pytest.raises(ConnectorFailed, match=r'\[airbyte.connectors."x/y"\]'):
        ConnectorRun("x/y").spec()
    with pytest.raises(SettingsError, match="neither postgres"):
        find_connector("oracle")


def test_connector_that_says_much_comes_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.stderr.write('progress\\n' * 100_000 + 'error: no more\\n'); sys.exit(1)"
    run = ConnectorRun("x/y")
    monkeypatch.setattr("cli.connector_runs.RUN", [sys.executable, "-c", code])
    with pytest.raises(ConnectorFailed, match="x/y spec: no more"):
        run.spec()
