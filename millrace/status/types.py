"""The status of the platform as one frozen value, for the status page and `millrace status`.

`Status.model_dump_json()` and `Status.model_validate_json()` are exact inverses. An unreadable value is None,
and `Status.unknown` has the reason; 0 always means none. Durations are in seconds.
"""

from datetime import datetime
from typing import Literal

from millrace.domain.batch import Balance, QuarantinedObject
from millrace.domain.landing import Count
from millrace.domain.ledger import MergedSync
from millrace.domain.quality import QualityResult, QualityRun
from millrace.domain.types import Frozen

Health = Literal["good", "working", "look", "bad", "unknown"]
"""good; data is being processed; needs a look (late, or quarantined rows); broken; could not be read."""
Unit = Literal["", "rows", "files", "batches", "bytes", "seconds"]
Service = Literal["ledger", "marts", "lake", "quality", "quarantine", "airbyte", "prefect", "lineage", "cost"]


class Unknown(Frozen):
    """A service that is unavailable, and the reason."""

    what: Service
    why: str


class Figure(Frozen):
    """One figure of a station; `value` is None when it could not be read."""

    label: str
    value: float | None
    unit: Unit = ""


class Station(Frozen):
    """A station of the data's way from the source to the marts; `note` describes a problem or current work."""

    key: Literal["source", "lake", "events", "merge", "gate", "marts"]
    title: str
    health: Health
    figures: tuple[Figure, ...]
    note: str = ""
    url: str = ""


class RunLink(Frozen):
    """A flow run in Prefect; `name` and `state` are '' when Prefect is unavailable or has deleted the run."""

    id: str
    name: str = ""
    state: str = ""
    url: str = ""


class Trouble(Frozen):
    """A failure: one sentence, the run, the command that fixes it, the section of the runbook.

    `over`: a later run of the same work succeeded.
    """

    at: datetime
    sentence: str
    kind: str = ""
    over: bool = False
    run: RunLink | None = None
    command: str = ""
    runbook: str = ""


class Freshness(Frozen):
    """Age of a stream's newest merge and the limit of its contract, in seconds.

    `kept` is None without a limit, or when the ledger is unavailable. A stream without a merge within the window has
    no age.
    """

    age_s: Count | None = None
    limit_s: Count | None = None
    kept: bool | None = None


class Pending(Frozen):
    """Landings within the window that are not merged yet."""

    landings: Count
    files: Count
    rows: Count


class BatchStatus(Frozen):
    """One merged batch and its syncs; `published_at` is None while the marts lack it.

    `syncs` are None when the ledger's objects could not be read; `seconds` is the duration of the run that merged it.
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

    `pending` and `quarantine` are None when they could not be read; `billed_bytes` when the engine does not report it.
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
    quarantine: tuple[QuarantinedObject, ...] | None = None
    trouble: Trouble | None = None
    paused: str = ""
    marts: tuple[str, ...] = ()
    billed_bytes: Count | None = None

    @property
    def id(self) -> str:
        """Return `<source>.<stream>`."""
        return f"{self.source}.{self.stream}"


class SyncStatus(Frozen):
    """One job of Airbyte; `run` is the flow run that requested it, if there is one."""

    source: str
    job_id: int
    status: str
    created_at: datetime
    seconds: float | None = None
    rows: Count | None = None
    bytes: Count | None = None
    run: RunLink | None = None


class SourceStatus(Frozen):
    """One source with its newest syncs, newest first; None when Airbyte is unavailable.

    `as_of`: the time of the snapshot, if another run has read the syncs from Airbyte.
    """

    source: str
    description: str = ""
    health: Health
    syncs: tuple[SyncStatus, ...] | None = None
    as_of: datetime | None = None
    trouble: Trouble | None = None
    paused: str = ""


class Mart(Frozen):
    """One published table and its upstream streams (`<source>.<stream>`)."""

    name: str
    rows: Count
    description: str = ""
    streams: tuple[str, ...] = ()


class Publication(Frozen):
    """A replacement of the marts: the time, the run, and the number of batches that they gained."""

    at: datetime
    candidate: str
    run: RunLink
    batches: Count


class GateRun(Frozen):
    """One run of the gate and its flow run."""

    found: QualityRun
    run: RunLink


class Quality(Frozen):
    """The gate: its runs within the window, newest first, and the newest result of each expectation."""

    runs: tuple[GateRun, ...] = ()
    results: tuple[QualityResult, ...] = ()


class StepRun(Frozen):
    """The duration of one run of a step."""

    at: datetime
    seconds: float
    run_id: str
    good: bool = True


class Step(Frozen):
    """A step of the pipeline with its newest runs, oldest first: a flow, or one of its tasks as `merge · commit`."""

    name: str
    runs: tuple[StepRun, ...]
    median_s: float
    worst_s: float


class Links(Frozen):
    """Addresses of other pages, '' for a page that does not exist; `command` begins the commands of this platform."""

    page: str = ""
    prefect: str = ""
    airbyte: str = ""
    data_docs: str = ""
    dbt_docs: str = ""
    dashboards: str = ""
    runbook: str = ""
    command: str = "millrace"


class Status(Frozen):
    """The whole status. `at` is the instant before the first read; `since` is the begin of the window.

    `marts`, `quality` and `steps` are None when they could not be read.
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
