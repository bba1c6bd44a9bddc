"""Peer: the same SQL by hand in DuckDB with its settings as they come."""

from bench.merge import raw
from bench.merge.job import Place


def prepare(place: Place) -> None:
    """Make the table, stored as DuckDB chooses."""
    raw.prepare(place, packed=())


def merge(place: Place) -> None:
    """Take the newest row of each key, and merge those."""
    raw.merge(place, settings="")
