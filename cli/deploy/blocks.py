"""Registers blocks, concurrency limits and the Slack URL with the Prefect server.

Idempotent: run it after every change of settings or sources, and after a rotation of the Slack URL.
"""

from collections.abc import Iterable, Iterator

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectNotFound
from prefect_slack import SlackWebhook
from pydantic import SecretStr

from blocks import (
    MillraceAirbyte,
    MillraceCredentials,
    MillraceEventBus,
    MillraceLake,
    MillraceResults,
    MillraceSecret,
    MillraceWarehouse,
    names,
)
from millrace.contracts.channels import secrets_of_channels
from millrace.contracts.marts import mart_promises
from millrace.contracts.source import SourceContract, load_sources
from millrace.domain.names import MODEL_SLOT, SHOW_SLOT, merge_slot
from millrace.project import current_project
from millrace.settings import Settings, load_settings


def register_blocks(settings: Settings) -> list[str]:
    """Save every block under its name; return their names."""
    lake, warehouse, events, airbyte = settings.lake, settings.warehouse, settings.events, settings.airbyte
    credentials = MillraceCredentials(project=events.project, endpoint=settings.secrets.endpoint)
    credentials.save(names.CREDENTIALS, overwrite=True)
    client_id = _secret(airbyte.client_id_secret, credentials)
    client_secret = _secret(airbyte.client_secret_secret, credentials)
    for name, block in (
        (names.LAKE, MillraceLake(url=lake.url, endpoint=lake.endpoint)),
        (names.RESULTS, MillraceResults(url=lake.url, endpoint=lake.endpoint)),
        (
            names.WAREHOUSE,
            MillraceWarehouse(
                url=warehouse.url,
                marts_url=warehouse.marts_url,
                endpoint=warehouse.endpoint,
                max_bytes_billed=warehouse.max_bytes_billed,
                lock_timeout_s=warehouse.lock_timeout_s,
                keep_candidates_days=warehouse.keep_candidates_days,
                keep_journal_days=warehouse.keep_journal_days,
            ),
        ),
        (names.EVENT_BUS, MillraceEventBus(project=events.project, endpoint=events.endpoint)),
        (
            names.AIRBYTE,
            MillraceAirbyte(
                url=airbyte.url,
                client_id=client_id,
                client_secret=client_secret,
                poll_s=airbyte.poll_s,
                sync_timeout_s=airbyte.sync_timeout_s,
                landing_timeout_s=airbyte.landing_timeout_s,
            ),
        ),
        (names.SLACK, slack_block(settings.slack.url_secret, credentials)),
    ):
        block.save(name, overwrite=True)
    return [names.CREDENTIALS, names.LAKE, names.RESULTS, names.WAREHOUSE, names.EVENT_BUS, names.AIRBYTE, names.SLACK]


def _secret(name: str, credentials: MillraceCredentials) -> MillraceSecret:
    secret = MillraceSecret(secret_name=name, gcp_credentials=credentials)
    secret.save(name, overwrite=True)
    return secret


def slack_block(secret: str, credentials: MillraceCredentials) -> SlackWebhook:
    """Return a block through which the Prefect server posts; the server itself must hold the URL."""
    url = MillraceSecret(secret_name=secret, gcp_credentials=credentials).value()
    return SlackWebhook(url=SecretStr(url))


def register_channels(settings: Settings, sources: Iterable[SourceContract]) -> list[str]:
    """Save the block of each channel that a contract or a mart names; return their names.

    Raises:
        SecretError: the secret with a channel's URL is missing; the message names it.
    """
    credentials = MillraceCredentials(project=settings.events.project, endpoint=settings.secrets.endpoint)
    channels = secrets_of_channels(sources, mart_promises(current_project().dbt_project))
    for channel, secret in channels.items():
        slack_block(secret, credentials).save(names.channel_block(channel), overwrite=True)
    return [names.channel_block(channel) for channel in channels]


def slots(sources: Iterable[SourceContract]) -> list[str]:
    """Return the names of the concurrency limits: one per stream, and one for the model."""
    return [MODEL_SLOT, SHOW_SLOT] + [merge_slot(s.source, stream) for s in sources for stream in s.streams]


def missing_limits(client: SyncPrefectClient, sources: Iterable[SourceContract]) -> list[str]:
    """Return the slots that have no limit."""
    return [name for name in slots(sources) if not _has_limit(client, name)]


def _has_limit(client: SyncPrefectClient, name: str) -> bool:
    try:
        client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        return False
    return True


def register_limits(client: SyncPrefectClient, sources: Iterable[SourceContract]) -> list[str]:
    """Create a concurrency limit of 1 for each slot that has none; return all slots."""
    sources = list(sources)
    for name in missing_limits(client, sources):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
    return slots(sources)


def deploy_blocks() -> Iterator[str]:
    """Register all blocks and limits; yield a line that names them."""
    settings, sources = load_settings(), load_sources(current_project().sources)
    blocks = register_blocks(settings) + register_channels(settings, sources.values())
    with get_client(sync_client=True) as client:
        limits = register_limits(client, sources.values())
    yield f"registered blocks {', '.join(blocks)}; {len(limits)} concurrency limits"
