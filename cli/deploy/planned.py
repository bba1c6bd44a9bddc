"""What `millrace deploy blocks` would change on a Prefect server; it reads the server only, and no secret's value."""

from collections.abc import Iterable, Iterator

from prefect.client.orchestration import SyncPrefectClient, get_client

from cli.deploy.blocks import missing_limits
from cli.deploy.checks import missing_blocks, outdated_blocks
from millrace.contracts.source import SourceContract, load_sources
from millrace.project import current_project
from millrace.settings import Settings, load_settings


def block_changes(client: SyncPrefectClient, settings: Settings, sources: Iterable[SourceContract]) -> Iterator[str]:
    """Yield a line for each block and concurrency limit that would be created, and for each field that would change."""
    missing = missing_blocks(client, settings)
    yield from (f"would be created: block {name}" for name in missing)
    if not missing:
        yield from (f"would be updated: {difference}" for difference in outdated_blocks(client, settings))
    yield from (f"would be created: concurrency limit {name}" for name in missing_limits(client, sources))


def plan_blocks() -> Iterator[str]:
    """Yield the lines of `block_changes` for the settings and sources; one that says so when there are none."""
    settings, sources = load_settings(), load_sources(current_project().sources)
    with get_client(sync_client=True) as client:
        changes = list(block_changes(client, settings, sources.values()))
    yield from changes or ["unchanged: blocks and concurrency limits"]
    yield "would be read again: the values of secrets that blocks hold (Slack's address)"
