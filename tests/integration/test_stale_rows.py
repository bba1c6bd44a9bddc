"""A stream that started over is reported with its first stale row; an old sync that arrives late is not."""

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from beam_job.raise_epoch import raise_epoch
from millrace.contracts.stream import StreamContract
from tests.support.in_process import InProcess
from tests.support.merging import NOON, contract, upsert

SENTENCE = (
    "merge.stale_storm: job 2 of shop.orders has Airbyte's generation 1, rows of older jobs have 7, as after a"
    " connection was created again: 1 of 1 rows of its batch were stale and 0 superseded, and later syncs will fare the"
    " same; run `millrace raise-epoch shop.orders --from-job 2`"
)


@dataclass(frozen=True)
class Sync:
    """A sync of one row; `known` if its manifest has the generation that its row has."""

    job: int
    generation: int
    id: int = 1
    connection: str = "c"
    known: bool = False
    epoch: int = 0

    def land(self, merging: InProcess) -> None:
        merging.jobs = self.job - 1
        row = upsert(self.id, 100 + self.job) | {"_airbyte_generation_id": self.generation}
        options: dict[str, Any] = {"connection_id": self.connection, "generation_id": self.generation * self.known}
        merging.land(rows=[row], epoch=self.epoch, **options)


@dataclass(frozen=True)
class History:
    """Batches of syncs in the order of their arrival, and the job that the warning of the last one names, if any."""

    batches: list[list[Sync]]
    from_job: int | None
    stream: StreamContract = field(default_factory=contract)


APPEND = contract(mode="append", order=["amount"])
HISTORIES = {
    "generations in rows, two batches": History([[Sync(1, 7)], [Sync(2, 1)]], 2),
    "generations in rows, one batch": History([[Sync(1, 7), Sync(2, 1)]], 2),
    "a new key": History([[Sync(1, 7)], [Sync(2, 1, id=2)]], 2),
    "an append stream, by its manifests": History([[Sync(1, 7, known=True)], [Sync(2, 1, known=True)]], 2, APPEND),
    "an append stream, one batch": History([[Sync(1, 7), Sync(2, 1)]], 2, APPEND),
    "two syncs of the new connection": History([[Sync(1, 7)], [Sync(2, 1, connection="n"), Sync(3, 1, 2, "n")]], 2),
    "an earlier warning that nobody read": History(
        [[Sync(1, 7, known=True)], [Sync(2, 1, 1, "n", known=True)], [Sync(3, 2, 1, "n", known=True)]], 2
    ),
    "a refresh": History([[Sync(1, 1)], [Sync(2, 2)]], None),
    "a refresh in one batch": History([[Sync(1, 1), Sync(2, 2)]], None),
    "an old sync that arrives late": History([[Sync(2, 7)], [Sync(1, 6)]], None),
    "an old sync that is months late": History([[Sync(9000, 7)], [Sync(1, 6)]], None),
    "a late sync with the newest one": History([[Sync(2, 7)], [Sync(1, 6), Sync(3, 7)]], None),
    "a raised epoch": History([[Sync(1, 7)], [Sync(2, 1, epoch=1)]], None),
    "an older row of the same generation": History([[Sync(3, 7)], [Sync(2, 7)]], None),
}


@pytest.mark.parametrize("case", HISTORIES)
def test_stream_that_started_over_is_reported(case: str, caplog: pytest.LogCaptureFixture) -> None:
    history = HISTORIES[case]
    merging = InProcess(history.stream)
    for syncs in history.batches:
        caplog.clear()
        for sync in syncs:
            sync.land(merging)
        with caplog.at_level(logging.WARNING):
            merging.merge()
    messages = [r.getMessage() for r in caplog.records if r.__dict__.get("event") == "merge.stale_storm"]
    assert len(messages) == (history.from_job is not None)
    for message in messages:
        assert f"run `millrace raise-epoch shop.orders --from-job {history.from_job}`" in message


def test_report_names_generations_rows_and_command(caplog: pytest.LogCaptureFixture) -> None:
    merging = InProcess(contract())
    for sync in (Sync(1, 7), Sync(2, 1)):
        sync.land(merging)
        merging.merge()
    assert SENTENCE in caplog.messages
    caplog.clear()
    raise_epoch(merging.lake, merging.warehouse, merging.contract, from_job=2, run_id="r", at=NOON)
    merging.merge()
    assert "merge.stale_storm" not in caplog.text
    assert merging.live() == {1: "v102"}


@pytest.mark.parametrize("late", [False, True])
def test_log_that_started_over_is_reported(late: bool, caplog: pytest.LogCaptureFixture) -> None:
    merging = InProcess(contract())
    merging.jobs = 5
    merging.land(rows=[upsert(number, 1000 + number) for number in range(100)])
    merging.merge()
    merging.jobs = 1 if late else 6
    merging.land(rows=[upsert(number, number) for number in range(100)])
    merging.merge()
    told = "100 of 100 rows of shop.orders are older than the table; if the source was restored or its log started over"
    assert (told in caplog.text) is not late
