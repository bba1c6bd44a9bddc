"""The newest publication and the mark of the last one shown in, what is not shown yet out."""

from millrace.domain import names
from millrace.domain.ledger import LedgerEntry
from millrace.lake.store import Lake
from millrace.warehouse.port import Ledger


def unshown_publication(lake: Lake, ledger: Ledger) -> LedgerEntry | None:
    """Return the `modelled` fact of the newest publication, unless its pages and files are in the lake."""
    newest = ledger.newest_model()
    return newest if newest and newest.batch_id != shown_publication(lake) else None


def shown_publication(lake: Lake) -> str:
    """Return the name of the publication that was shown last, '' before the first one."""
    return lake.read(names.SHOWN).decode() if lake.stat(names.SHOWN) else ""
