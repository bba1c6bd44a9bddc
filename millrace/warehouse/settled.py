"""A ledger in, the instant before which nothing in it is open out: the next searches begin there."""

from datetime import datetime, timedelta

from millrace.warehouse.port import Ledger

LATEST = timedelta(days=3)
"""A fact is visible later than its time by the duration of its job, which BigQuery ends after a day or less."""


def settled_before(ledger: Ledger, now: datetime) -> datetime:
    """Return the time of the oldest fact that a search must still find, or three days before `now` if that is earlier.

    These facts are merges that are unpublished or not announced, a publication that was not announced, and the newest
    `modelled` fact, however old.
    """
    open_facts = [*ledger.unpublished(), *ledger.unannounced()]
    newest, publication = ledger.newest_model(), ledger.unannounced_publication()
    times = [entry.at for entry in (*open_facts, *([newest] if newest else []))]
    return min([now - LATEST, *times, *([publication.at] if publication else [])])
