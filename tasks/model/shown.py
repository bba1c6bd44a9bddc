"""What the pages and files of the marts lack: work for a show run, the mark of what it has shown, and its failures."""

from collections.abc import Sequence

from millrace.domain import names
from millrace.domain.errors import ShowIncomplete
from millrace.domain.findings import Gap
from millrace.domain.types import Frozen
from millrace.warehouse.shown import unshown_publication
from tasks.context import open_lake, open_warehouse
from tasks.retries import uncached_task


class Unshown(Frozen):
    """A publication without its pages and files, '' for none, and objects with results of the gate without pages."""

    publication: str = ""
    results: tuple[str, ...] = ()


@uncached_task(task_run_name="look for what is not shown", retries=2)
def find_unshown() -> Unshown:
    """Return the newest publication unless it is shown, and the kept results of the gate."""
    lake = open_lake()
    publication = unshown_publication(lake, open_warehouse())
    results = sorted(info.name for info in lake.list(names.GATE_RESULTS))
    return Unshown(publication=publication.batch_id if publication else "", results=tuple(results))


@uncached_task(task_run_name="note that {publication} is shown", retries=2)
def note_shown(publication: str) -> None:
    """Name the publication whose pages and files are in the lake, for reconcile."""
    open_lake().write(names.SHOWN, publication.encode(), "text/plain")


def raise_unshown(failed: Sequence[Gap]) -> None:
    """Fail the run when a part of it failed.

    Raises:
        ShowIncomplete: names each part with its reason.
    """
    if failed:
        reasons = "; ".join(f"{gap.where}: {gap.detail}" for gap in failed)
        raise ShowIncomplete(f"{len(failed)} parts failed, all others are shown; reconcile starts a new run. {reasons}")
