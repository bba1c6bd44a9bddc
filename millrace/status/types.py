"""Everything that the status page and `millrace status` show, as one frozen value.

`Status.model_dump_json()` and `Status.model_validate_json()` are exact inverses. What could not be asked is None,
and `Status.unknown` says why; 0 always means none. Durations are in seconds.
"""

from datetime import datetime
from typing import Literal

from millrace.domain.batch import Balance, RefusedObject
from millrace.domain.landing import Count
from millrace.domain.ledger import MergedSync
from millrace.domain.quality import QualityResult, QualityRun
from millrace.domain.types import Frozen

Health = Literal["good", "working", "look", "bad", "unknown"]
"""good; at work; somebody should look (late, or rows in quarantine); broken; could not be asked."""
Unit = Literal["", "rows", "files", "batches", "bytes", "seconds"]
Asked = Literal["ledger", "marts", "lake", "quality", "quarantine", "airbyte", "prefect", "lineage", "cost"]


class Unknown(Frozen):
    """Something that could not be asked, and why."""

    what: Asked
    why: str


class Figure(Frozen):
    """One live figure of a station; `value` is None when it could not be asked for."""

    label: str
    value: float | None
    unit: Unit = ""


class Station(Frozen):
    """A station of the way from the source to the marts; `note` says in one sentence what is wrong or going on."""

    key: Literal["source", "lake", "events", "merge", "gate", "marts"]
    title: str
    health: Health
    figures: tuple[Figure, ...]
    note: str = ""
    url: str = ""


class RunLink(Frozen):
    """A run of a flow in Prefect; `name` and `state` are '' when Prefect could not be asked or has forgotten it."""

    id: str
    name: str = ""
    state: str = ""
    url: str = ""


class Trouble(Frozen):
    """What went wrong: one sentence, the run, the command that mends it, the paragraph of the runbook.

    `over`: the same work went well since.
    """

    at: datetime
    sentence: str
    kind: str = ""
    over: bool = False
    run: RunLink | None = None
    command: str = ""
    runbook: str = ""


class Freshness(Frozen):
    """Age of a stream's newest merge beside what its contract promises, in seconds.

    `kept` is None when nothing is promised, or the ledger could not be asked. A stream that was not merged within the
    window has no age.
    """

    age_s: Count | None = None
    limit_s: Count | None = None
    kept: bool | None = None


class Pending(Frozen):
    """What landed within the window and is not merged yet."""

    landings: Count
    files: Count
    rows: Count


class BatchStatus(Frozen):
    """One merged batch and where it came from; `published_at` is None while the marts lack it.

    `syncs` are None when the ledger's objects could not be asked; `seconds` is how long the run took that merged it.
    """

    id: str
    at: datetime
    balance: Balance
    run: RunLink
    seconds: float | None = None
    published_at: datetime | None = None
    candidate: str = ""
    syncs: tuple[MergedSync, ...] | None = None


class StreamStatus(Frozen):
    """One stream. `balance` sums its `batches`: all that were merged within the window, newest first.

    `pending`, `quarantine` are None when they could not be asked; `billed_bytes` where the engine does not tell.
    """

    source: str
    stream: str
    description: str = ""
    owner: str = ""
    mode: str = ""
    key: tuple[str, ...] = ()
    table: str = ""
    health: Health
    freshness: Freshness
    balance: Balance
    batches: tuple[BatchStatus, ...] = ()
    pending: Pending | None = None
    quarantine: tuple[RefusedObject, ...] | None = None
    trouble: Trouble | None = None
    marts: tuple[str, ...] = ()
    billed_bytes: Count | None = None

    @property
    def id(self) -> str:
        """`<source>.<stream>`, as people name it."""
        return f"{self.source}.{self.stream}"


class SyncStatus(Frozen):
    """One job of Airbyte; `run` is the flow run that asked for it, when one did and is known."""

    source: str
    job_id: int
    status: str
    created_at: datetime
    seconds: float | None = None
    rows: Count | None = None
    bytes: Count | None = None
    run: RunLink | None = None


class SourceStatus(Frozen):
    """One source with its newest syncs, newest first; None when Airbyte could not be asked.

    `as_of`: when Airbyte told them, if it was another run that asked.
    """

    source: str
    description: str = ""
    health: Health
    syncs: tuple[SyncStatus, ...] | None = None
    as_of: datetime | None = None
    trouble: Trouble | None = None


class Mart(Frozen):
    """One published table, and the streams whose rows it is made of (`<source>.<stream>`)."""

    name: str
    rows: Count
    description: str = ""
    streams: tuple[str, ...] = ()


class Publication(Frozen):
    """The marts were replaced: when, by which run, and how many merged batches they took in."""

    at: datetime
    candidate: str
    run: RunLink
    batches: Count


class GateRun(Frozen):
    """One run of the gate, and the flow run that it was part of."""

    found: QualityRun
    run: RunLink


class Quality(Frozen):
    """The gate: its runs within the window, newest first, and the newest result of each expectation."""

    runs: tuple[GateRun, ...] = ()
    results: tuple[QualityResult, ...] = ()


class StepRun(Frozen):
    """How long one run of a step took."""

    at: datetime
    seconds: float
    run_id: str
    good: bool = True


class Step(Frozen):
    """A step of the way with its newest runs, oldest first; `name` is a flow, or one of its tasks: `merge · commit`."""

    name: str
    runs: tuple[StepRun, ...]
    median_s: float
    worst_s: float


class Links(Frozen):
    """Where to look further; '' where there is no such page."""

    page: str = ""
    prefect: str = ""
    airbyte: str = ""
    data_docs: str = ""
    dbt_docs: str = ""
    dashboards: str = ""
    runbook: str = ""


class Status(Frozen):
    """All that is shown. `at` is the instant before anything was asked; `since` is where the window begins.

    `marts`, `quality`, `steps` are None when they could not be asked.
    """

    v: Literal[1] = 1
    at: datetime
    since: datetime
    health: Health
    headline: str
    stations: tuple[Station, ...]
    sources: tuple[SourceStatus, ...] = ()
    streams: tuple[StreamStatus, ...] = ()
    marts: tuple[Mart, ...] | None = None
    publications: tuple[Publication, ...] = ()
    quality: Quality | None = None
    steps: tuple[Step, ...] | None = None
    troubles: tuple[Trouble, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    links: Links = Links()
