"""Clients of the status: settings in, clients with timeouts of seconds out, as a status should not take long."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from millrace.airbyte.client import AirbyteClient
from millrace.command_line import command_line
from millrace.contracts.source import load_sources
from millrace.domain import names
from millrace.domain.errors import SettingsError
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.project import current_project
from millrace.settings import Settings
from millrace.status.collect import Clients
from millrace.status.prefect_runs import PrefectFacts, read_prefect
from millrace.status.types import Links
from millrace.warehouse.engines import open_warehouse

TIMEOUT_S = 10.0
API = "/api/public/v1"


def status_clients(settings: Settings) -> Clients:
    """Return the clients that the settings name, with Prefect's by its own settings; reads only `sources/` yet.

    Raises:
        SettingsError, ContractError: the settings or the contracts are invalid.
    """
    lake = open_lake(settings.lake.url, settings.lake.endpoint)
    lock_timeout_s = min(TIMEOUT_S, settings.warehouse.lock_timeout_s)
    return Clients(
        warehouse=open_warehouse(
            settings.warehouse.model_copy(update={"lock_timeout_s": lock_timeout_s}), retry_s=TIMEOUT_S
        ),
        lake=lake,
        sources=load_sources(current_project().sources),
        airbyte=lambda: _airbyte(settings),
        prefect=_prefect,
        dbt_project=current_project().dbt_project,
        links=links(settings, lake),
    )


def links(settings: Settings, lake: Lake) -> Links:
    """Return the addresses of the other pages."""
    from prefect.settings import PREFECT_UI_URL

    return Links(
        page=lake.address(names.STATUS_PAGE),
        prefect=(PREFECT_UI_URL.value() or "").rstrip("/"),
        airbyte=settings.airbyte.url.removesuffix("/").removesuffix(API),
        data_docs=lake.address(f"{names.SITE}quality/index.html"),
        dbt_docs=lake.address(f"{names.SITE}dbt/index.html"),
        dashboards=lake.address(f"{names.SITE}dashboards/index.html"),
        runbook=settings.slack.runbook,
        command=command_line(),
    )


@contextmanager
def _airbyte(settings: Settings) -> Iterator[AirbyteClient]:
    from millrace.secrets import SecretManager, read_secret  # imports Google's client

    airbyte = settings.airbyte
    credentials = SecretManager(project=settings.events.project, endpoint=settings.secrets.endpoint)
    pair = [read_secret(credentials, name) for name in (airbyte.client_id_secret, airbyte.client_secret_secret)]
    with AirbyteClient(airbyte.url, *pair, timeout_s=TIMEOUT_S) as client:
        yield client


def _prefect(since: datetime, now: datetime) -> PrefectFacts:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():  # without it the client would start a server of its own
        raise SettingsError("PREFECT_API_URL is not set; set it to the address of the Prefect server")
    with get_client(sync_client=True) as client:
        return read_prefect(client, since, now)
