"""Applies one source's contract to an Airbyte, as `millrace connections apply` does."""

from millrace.airbyte.client import AirbyteClient
from millrace.airbyte.connections import Action, Connections
from millrace.contracts.source import SourceContract


def apply(client: AirbyteClient, source: SourceContract, lake_url: str) -> Action:
    """Create or update the items of one source; return the strongest action among the planned changes."""
    connections = Connections(client, lake_url)
    changes = connections.plan([source])
    connections.apply(changes, [source])
    return max((change.action for change in changes), key=["keep", "update", "create"].index)
