"""A warehouse and a lake of `shop.orders` that a status is collected of, and what Prefect and Airbyte say."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from beam_job.batches import Limits
from millrace.contracts.source import SourceContract
from millrace.lake.store import Lake
from millrace.status.collect import Clients, collect
from millrace.status.prefect_runs import PrefectFacts, Run, TaskDuration
from millrace.status.types import Links, Status
from tests.support.merging import NOON, PARQUET, Merging, contract, parquet, upsert

NOW = NOON + timedelta(hours=1)
UI = "http://127.0.0.1:1"
HALF = PARQUET.set(PARQUET.get_field_index("amount"), pa.field("amount", pa.float64()))


def away(*_: Any) -> NoReturn:
    raise ConnectionError("the server does not answer")


def run(name: str = "merge shop.orders", state: str = "COMPLETED", number: int = 1, **overrides: Any) -> Run:
    """A run that ended `number` minutes after noon."""
    defaults: dict[str, Any] = {
        "id": f"00000000-0000-0000-0000-{number:012d}",
        "flow": name.split()[0],
        "name": name,
        "state": state,
        "message": "",
        "started": NOON,
        "ended": NOON + timedelta(minutes=number),
        "seconds": 2.5,
        "parameters": {"source": "shop", "stream": "orders"},
    }
    return Run(**defaults | overrides)


def merge_some(merging: Merging) -> None:
    """Two batches: one of two syncs with rows of every kind, and a later one; a third sync waits."""
    merging.land(rows=[upsert(1, 10), upsert(1, 12), upsert(2, 11)])
    merging.land(merging.put(parquet([upsert(3, 1), upsert(4, 1) | {"amount": 0.5}], HALF)))
    merging.merge()
    merging.land(rows=[upsert(1, 11), upsert(5, 20)])
    merging.merge()
    merging.land(rows=[upsert(6, 30), upsert(7, 30)])


@dataclass
class ShopStatus:
    """Merges, and the status of them; `runs` and `tasks` are what Prefect says, newest first."""

    merging: Merging
    runs: list[Run] = field(default_factory=list)
    tasks: list[TaskDuration] = field(default_factory=list)
    prefect: Callable[..., PrefectFacts] | None = None
    dbt_project: Path = Path("nowhere")
    lake: Lake | None = None

    def clients(self) -> Clients:
        contract = self.merging.contract
        source = SourceContract.model_validate(
            {"source": "shop", "connector": {"image": "i", "version": "1"}, "streams": {"orders": contract}}
        )
        return Clients(
            warehouse=self.merging.warehouse,
            lake=self.lake or self.merging.lake,
            sources={"shop": source},
            airbyte=away,
            prefect=self.prefect or (lambda *_: PrefectFacts(runs=tuple(self.runs), tasks=tuple(self.tasks))),
            dbt_project=self.dbt_project,
            links=Links(prefect=UI),
        )

    def status(self, now: datetime = NOW) -> Status:
        return collect(self.clients(), now.astimezone(UTC))


def new_shop(lake: Lake, folder: Path) -> ShopStatus:
    """A lake and a warehouse without data, whose stream is late after two hours."""
    return ShopStatus(Merging(lake, folder, contract(freshness="2h"), Limits()))


def merged_shop(lake: Lake, folder: Path) -> ShopStatus:
    """The state that `merge_some` leaves, for tests that only read."""
    shop = new_shop(lake, folder)
    merge_some(shop.merging)
    return shop


def empty(at: datetime) -> Status:
    """A status of an instant with nothing to show."""
    return Status(at=at, since=at, health="good", headline=f"of {at.isoformat()}", stations=())
