"""Status of streams: facts of ledger, quarantine, lake and runs in, a `StreamStatus` out; only `waiting` reads."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Balance, QuarantinedObject
from millrace.domain.ledger import LedgerEntry, MergedSync
from millrace.lake.manifests import read_manifest
from millrace.lake.pauses import Pauses
from millrace.lake.store import Lake
from millrace.status.lineage import MartLineage
from millrace.status.troubles import describe_quarantine
from millrace.status.types import BatchStatus, Freshness, Health, Pending, RunLink, StreamStatus, Trouble

TERMS = tuple(Balance.model_fields)
MOST_READ = 50  # pending manifests that are read for their rows


@dataclass(frozen=True)
class Facts:
    """The facts of all streams; None where a service is unavailable. `published` has a batch's first publication."""

    now: datetime
    since: datetime
    merged: Mapping[str, Sequence[LedgerEntry]] | None
    merged_again: tuple[LedgerEntry, ...] = ()
    published: Mapping[str, LedgerEntry] = field(default_factory=dict)
    syncs: Mapping[str, Sequence[MergedSync]] | None = None
    quarantine: Mapping[str, Sequence[QuarantinedObject]] | None = None
    pending: Mapping[str, Pending | None] = field(default_factory=dict)
    billed: Mapping[str, int] | None = None
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    pauses: Pauses = field(default_factory=Pauses)
    working: frozenset[str] = frozenset()
    seconds: Mapping[str, float] = field(default_factory=dict)
    marts: Mapping[str, MartLineage] = field(default_factory=dict)
    run: Callable[[str], RunLink] = lambda run_id: RunLink(id=run_id)


def by_stream(ledger: Iterable[LedgerEntry]) -> dict[str, list[LedgerEntry]]:
    """Return the merged batches of each stream, newest first."""
    merged: dict[str, list[LedgerEntry]] = {}
    for entry in ledger:
        if entry.kind == "merged":
            merged.setdefault(f"{entry.source}.{entry.stream}", []).append(entry)
    return {stream: sorted(entries, key=lambda e: e.at)[::-1] for stream, entries in merged.items()}


def merged_again(ledger: Iterable[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """Return the redriven objects after which a batch of their stream was merged; the ledger is as it was written."""
    waiting: dict[str, list[LedgerEntry]] = {}
    again: list[LedgerEntry] = []
    for entry in ledger:
        stream = f"{entry.source}.{entry.stream}"
        if entry.kind == "redriven":
            waiting.setdefault(stream, []).append(entry)
        elif entry.kind == "merged":
            again += waiting.pop(stream, [])
    return tuple(again)


def stream_status(contract: StreamContract, facts: Facts) -> StreamStatus:
    """Return the status of one stream."""
    merged = None if facts.merged is None else list(facts.merged.get(contract.id, ()))
    batches = tuple(_batch(entry, facts) for entry in merged or ())
    quarantined = None if facts.quarantine is None else tuple(facts.quarantine.get(contract.id, ()))
    fresh, paused = freshness(contract, merged, facts.now), facts.pauses.of(contract.source, contract.stream)
    fresh = fresh.model_copy(update={"kept": None}) if paused else fresh
    trouble = _trouble(contract, facts, quarantined)
    pending = facts.pending.get(contract.id)
    return StreamStatus(
        source=contract.source,
        stream=contract.stream,
        description=contract.description,
        owner=contract.owner,
        mode=contract.mode,
        key=contract.key,
        table=f"{names.raw_schema(contract.source)}.{names.live_view(contract.stream)}",
        health=_health(contract.id, facts, fresh, quarantined, trouble, pending),
        freshness=fresh,
        balance=counted_once(total(b.balance for b in batches), _merged_again(contract, facts)),
        batches=batches,
        pending=pending,
        quarantine=quarantined,
        trouble=trouble,
        paused=paused.sentence if paused else "",
        marts=tuple(name for name, mart in facts.marts.items() if contract.id in mart.streams),
        billed_bytes=None if facts.billed is None else facts.billed.get(contract.id, 0),
    )


def _batch(entry: LedgerEntry, facts: Facts) -> BatchStatus:
    published = facts.published.get(entry.batch_id)
    return BatchStatus(
        id=entry.batch_id,
        at=entry.at,
        balance=Balance(**{term: getattr(entry, term) for term in TERMS}),
        run=facts.run(entry.run_id),
        seconds=facts.seconds.get(entry.run_id),
        published_at=published.at if published else None,
        candidate=published.detail if published else "",
        syncs=None if facts.syncs is None else tuple(facts.syncs.get(entry.batch_id, ())),
    )


def total(balances: Iterable[Balance]) -> Balance:
    """Return the sum of balances, term by term."""
    sums = dict.fromkeys(TERMS, 0)
    for balance in balances:
        sums = {term: sums[term] + getattr(balance, term) for term in TERMS}
    return Balance(**sums)


def _merged_again(contract: StreamContract, facts: Facts) -> list[LedgerEntry]:
    return [e for e in facts.merged_again if f"{e.source}.{e.stream}" == contract.id]


def counted_once(balance: Balance, merged_again: Iterable[LedgerEntry]) -> Balance:
    """Return a balance in which the rows of an object that was merged again count once, as the last merge left them.

    Its rows that were merged before are stale, or superseded, in the second merge.
    """
    left = balance.model_dump()
    for entry in merged_again:
        twice = entry.rows_in - entry.quarantined
        stale = min(twice, left["stale"])
        terms = {"quarantined": entry.quarantined, "stale": stale, "superseded": twice - stale}
        for term, rows in terms.items():
            counted = min(rows, left[term])
            left[term] -= counted
            left["rows_in"] -= counted
    return Balance(**left)


def freshness(contract: StreamContract, merged: Sequence[LedgerEntry] | None, now: datetime) -> Freshness:
    """Return the age of the newest merge and whether it keeps the contract's limit; a stream never merged is late."""
    age = max(0, round((now - merged[0].at).total_seconds())) if merged else None
    limit = contract.freshness_s
    in_time = None if limit is None or merged is None else age is not None and age <= limit
    return Freshness(age_s=age, limit_s=limit, kept=in_time)


def _trouble(
    contract: StreamContract, facts: Facts, quarantined: tuple[QuarantinedObject, ...] | None
) -> Trouble | None:
    """Return the current failure of the merge, else the quarantine, else the last failure that is over."""
    failed = facts.troubles.get(names.merge_work(contract.source, contract.stream))
    if quarantined and (failed is None or failed.over):
        sentence, command = describe_quarantine(contract.source, contract.stream, quarantined)
        entry = next((e for e in (facts.merged or {}).get(contract.id, ()) if e.quarantined), None)
        return Trouble(
            at=entry.at if entry else facts.now,
            sentence=sentence,
            kind="Quarantine",
            command=command,
            run=facts.run(entry.run_id) if entry else None,
            runbook="millrace-rows-were-quarantined",
        )
    return failed


def _health(
    stream: str,
    facts: Facts,
    fresh: Freshness,
    quarantined: tuple[QuarantinedObject, ...] | None,
    trouble: Trouble | None,
    pending: Pending | None,
) -> Health:
    if facts.merged is None:
        return "unknown"
    if trouble and not trouble.over and trouble.kind != "Quarantine":
        return "bad"
    if quarantined or fresh.kept is False:
        return "look"
    return "working" if stream in facts.working or (pending and pending.landings) else "good"


def waiting(lake: Lake, contract: StreamContract, merged_jobs: set[int], since: datetime) -> Pending:
    """Return the landings since `since` that the ledger lacks, with the rows of the oldest `MOST_READ`.

    A landing without objects is not among them, as the ledger tells nothing of it.
    """
    prefix = names.manifests_prefix(contract.source, contract.stream)
    paths = [
        o.name for o in lake.list(prefix, start=f"{prefix}{since:%Y%m%d}") if names.MANIFEST_PATH.fullmatch(o.name)
    ]
    left = [path for path in paths if names.parse_manifest_path(path)[2] not in merged_jobs]
    manifests = [manifest for path in left[:MOST_READ] if (manifest := read_manifest(lake, path)).objects]
    return Pending(
        landings=len(manifests) + len(left[MOST_READ:]),
        files=sum(len(m.objects) for m in manifests),
        rows=sum(m.rows for m in manifests),
    )
