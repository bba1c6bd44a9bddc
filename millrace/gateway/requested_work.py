"""An event in; the work that it asks for and what active runs mean for that work, out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from millrace.domain import names
from millrace.events.translate import Event
from millrace.gateway.prefect_runs import Run


class Answer(Enum):
    """Whether work needs a run of its own; an unclear answer differs a moment later."""

    NEEDED = names.NEEDED
    ACTIVE = "active"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Merge:
    """The merge of a stream's landings: a run that has yet to start, or holds the slot, looks for them again."""

    source: str
    stream: str
    flow = "merge"

    @property
    def slot(self) -> str:
        """Return the slot that a run of this work holds."""
        return names.merge_slot(self.source, self.stream)

    def answer(self, runs: Sequence[Run], slot_is_held: bool) -> Answer:
        """Return whether one of these runs takes the work."""
        return _by_slot([run for run in runs if self.is_done_by(run)], slot_is_held)

    def is_done_by(self, run: Run) -> bool:
        """Return True for a run of the stream."""
        return (run.parameters.get("source"), run.parameters.get("stream")) == (self.source, self.stream)


@dataclass(frozen=True)
class Model:
    """The marts of what was merged: as for merges, with one slot."""

    flow = "model"
    slot = names.MODEL_SLOT

    def answer(self, runs: Sequence[Run], slot_is_held: bool) -> Answer:
        """Return whether one of these runs takes the work."""
        return _by_slot(runs, slot_is_held)

    def is_done_by(self, run: Run) -> bool:
        """Return True: each run of the flow builds all marts that lack merges."""
        return True


@dataclass(frozen=True)
class Sync:
    """The landing of an ended sync: an ingest run with its tag lands it; one without a sync may be about to get it."""

    source: str
    job_id: int
    flow = "ingest"
    slot = ""

    def answer(self, runs: Sequence[Run], slot_is_held: bool) -> Answer:
        """Return whether one of these runs takes the work."""
        if any(self.is_done_by(run) for run in runs):
            return Answer.ACTIVE
        of_source = [run for run in runs if run.parameters.get("source") == self.source]
        prefix = names.sync_tag(self.source)
        untagged = [run for run in of_source if not any(tag.startswith(prefix) for tag in run.tags)]
        return Answer.UNCLEAR if any(run.running for run in untagged) else Answer.NEEDED

    def is_done_by(self, run: Run) -> bool:
        """Return True for a run that watches the sync."""
        return names.sync_tag(self.source, self.job_id) in run.tags


Work = Merge | Model | Sync
WORK_OF_EVENT: dict[str, Callable[[Event], Work]] = {
    names.EVENT_OF_TOPIC[names.LAKE_LANDED]: lambda e: Merge(e.payload["source"], e.payload["stream"]),
    names.EVENT_OF_TOPIC[names.WAREHOUSE_MERGED]: lambda _: Model(),
    names.SYNC_COMPLETED: lambda e: Sync(e.payload["source"], e.payload["job_id"]),
}


def _by_slot(runs: Sequence[Run], slot_is_held: bool) -> Answer:
    if any(not run.running for run in runs) or (runs and slot_is_held):
        return Answer.ACTIVE
    return Answer.UNCLEAR if runs else Answer.NEEDED
