"""One stream on either engine, for tests whose bodies are the same on both; and the page of their results."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from beam_job.batches import Limits, close_batch, open_batch
from beam_job.commit import commit_batch
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, Batch, Staged
from millrace.lake.store import Lake
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
from millrace.warehouse.port import Warehouse
from tests.support.bigquery import BigQuery, lake_for
from tests.support.in_process import MemoryLake, stage_plainly
from tests.support.merging import NOON, Merging

ENGINES = [
    pytest.param("duckdb", marks=pytest.mark.engines),
    pytest.param("bigquery", marks=[pytest.mark.engines, pytest.mark.bigquery]),
]
DAYS = {"day": {"type": "date", "nullable": False}, "at": {"type": "timestamp", "nullable": False}}


@dataclass
class Engine:
    """A warehouse with what differs about reading it: names of schemas, tables made by hand, and how all is lost."""

    name: str
    warehouse: Warehouse
    lake: Lake
    schema: Callable[[str], str]
    read: Callable[[str], list[tuple[Any, ...]]]
    fill: Callable[[str, dict[str, str]], None]
    again: Callable[[], Warehouse]
    lose: Callable[[], None]
    write: Callable[[str], object]
    differs: list[str] = field(default_factory=list)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows; `{raw}`, `{ops}` and `{marts}` are schemas."""
        return self.read(sql.format(raw=self.schema("raw_shop"), ops=self.schema("ops"), marts=self.schema("marts")))

    def change(self, *statements: str) -> None:
        """Change tables by hand, one statement after the other."""
        for sql in statements:
            self.write(sql.format(raw=self.schema("raw_shop"), ops=self.schema("ops")))

    def build(self, candidate: str, tables: dict[str, str], *, empty: bool = True) -> None:
        """Begin a candidate and make tables in it, as dbt does; a query that reads `{here}` makes a view."""
        self.warehouse.begin_candidate(candidate, empty=empty)
        self.fill(candidate, tables)

    def note(self, engine: str, difference: str) -> bool:
        """Return True when this is that engine; if so the page lists the difference."""
        if self.name == engine:
            self.differs.append(difference)
        return self.name == engine


class OnEngine(Merging):
    """A stream merged on an engine, without Beam."""

    def __init__(self, engine: Engine, contract: StreamContract) -> None:
        super().__init__(engine.lake, Path("/nowhere"), contract)
        self.engine, self.warehouse = engine, engine.warehouse  # type: ignore[assignment]

    def opened(self) -> Batch:
        batch = open_batch(self.lake, self.warehouse, self.contract, limits=Limits(), now=NOON)
        assert batch is not None
        return batch

    def staged(self, batch: Batch) -> Staged:
        return stage_plainly(self.lake, self.contract, batch)

    def commit(self, batch: Batch, staged: Staged | None = None, warehouse: Warehouse | None = None) -> Balance:
        return commit_batch(
            self.lake,
            warehouse or self.warehouse,
            self.contract,
            batch,
            staged or self.staged(batch),
            run_id="test",
            at=NOON,
        )

    def merge(self) -> list[Balance]:
        balances = []
        while batch := open_batch(self.lake, self.warehouse, self.contract, limits=Limits(), now=NOON):
            balances.append(self.commit(batch))
            close_batch(self.lake, batch)
        return balances

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.engine.query(sql)

    def live(self) -> dict[int, str]:
        view = names.live_view(self.contract.stream)
        return dict(self.query(f"SELECT id, name FROM {{raw}}.{view}"))  # type: ignore[arg-type]


def kind_of(query: str) -> str:
    """Return the kind of relation that dbt makes of a query: a table or a view."""
    return "VIEW" if "{here}" in query else "TABLE"


@contextmanager
def duckdb_engine(folder: Path) -> Iterator[Engine]:
    def make() -> DuckDBWarehouse:
        return DuckDBWarehouse(f"duckdb:///{folder}/w.duckdb", f"duckdb:///{folder}/p.duckdb")

    warehouse = make()

    def read(sql: str) -> list[tuple[Any, ...]]:
        file = folder / ("p.duckdb" if "marts." in sql else "w.duckdb")
        with duckdb.connect(str(file), read_only=True) as db:
            db.execute("SET TimeZone = 'UTC'")
            return db.execute(sql).fetchall()

    def fill(candidate: str, tables: dict[str, str]) -> None:
        with duckdb.connect(warehouse.dbt_environment(candidate)["MILLRACE_CANDIDATE_PATH"]) as db:
            db.execute("CREATE SCHEMA IF NOT EXISTS marts")
            for name, query in tables.items():
                db.execute(f"CREATE OR REPLACE {kind_of(query)} marts.{name} AS {query.format(here='marts')}")

    def lose() -> None:
        (folder / "w.duckdb").unlink()

    def write(sql: str) -> None:
        with warehouse._writing("test") as db:
            db.execute(sql)

    yield Engine("duckdb", warehouse, MemoryLake(), str, read, fill, make, lose, write)


@contextmanager
def bigquery_engine(bigquery: BigQuery, emulated: Lake) -> Iterator[Engine]:
    with ExitStack() as stack:
        prefix, lake = stack.enter_context(bigquery.prefix()), stack.enter_context(lake_for(bigquery, emulated))
        client, warehouse = bigquery.client(), bigquery.warehouse(prefix)

        def read(sql: str) -> list[tuple[Any, ...]]:
            return [tuple(row.values()) for row in client.query(sql).result()]

        def fill(candidate: str, tables: dict[str, str]) -> None:
            dataset = warehouse.dbt_environment(candidate)["MILLRACE_CANDIDATE_DATASET"]
            location = f"`{bigquery.project}`.`{dataset}`"
            for name, query in tables.items():
                read(f"CREATE OR REPLACE {kind_of(query)} {dataset}.{name} AS {query.format(here=location)}")

        def lose() -> None:
            for schema in ("raw_shop", "ops"):
                client.delete_dataset(f"{bigquery.project}.{prefix}_{schema}", delete_contents=True)

        yield Engine(
            "bigquery",
            warehouse,
            lake,
            lambda schema: f"{prefix}_{schema}",
            read,
            fill,
            lambda: bigquery.warehouse(prefix),
            lose,
            read,
        )
        warehouse.close()
        client.close()
