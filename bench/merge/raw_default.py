"""Peer: the same SQL by hand in DuckDB with its settings as they come."""

from bench.merge import raw
from bench.merge.job import Workspace


def prepare(workspace: Workspace) -> None:
    """Make the table, stored as DuckDB chooses."""
    raw.prepare(workspace, packed=())


def merge(workspace: Workspace) -> None:
    """Take the newest row of each key, and merge those."""
    raw.merge(workspace, settings="")
