"""Whom the settings name: what `collect` asks, with patience for seconds, as nobody waits long for a status."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from millrace.airbyte.client import AirbyteClient
from millrace.contracts.source import load_sources
from millrace.domain import names
from millrace.domain.errors import SettingsError
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.settings import Settings
from millrace.settings.tree import ROOT
from millrace.status.collect import Places
from millrace.status.prefect_runs import PrefectFacts, ask_prefect
from millrace.status.types import Links
from millrace.warehouse.port import open_warehouse

PATIENCE_S = 10.0
API = "/api/public/v1"


def status_places(settings: Settings) -> Places:
    """Every place, by the settings; a Prefect server by Prefect's own. Nothing is asked yet but `sources/`.

    Raises:
        SettingsError, ContractError: they are wrong.
    """
    lake, warehouse = open_lake(settings.lake.url, settings.lake.endpoint), settings.warehouse
    lock_timeout_s = min(PATIENCE_S, warehouse.lock_timeout_s)
    return Places(
        warehouse=open_warehouse(
            warehouse.url,
            warehouse.marts_url,
            lock_timeout_s,
            warehouse.keep_candidates_days,
            endpoint=warehouse.endpoint,
            max_bytes_billed=warehouse.max_bytes_billed,
            retry_s=PATIENCE_S,
        ),
        lake=lake,
        sources=load_sources(ROOT / "sources"),
        airbyte=lambda: _airbyte(settings),
        prefect=_prefect,
        dbt_project=ROOT / "dbt_project",
        links=links(settings, lake),
    )


def links(settings: Settings, lake: Lake) -> Links:
    """Where people look further."""
    from prefect.settings import PREFECT_UI_URL

    return Links(
        page=lake.address(names.STATUS_PAGE),
        prefect=(PREFECT_UI_URL.value() or "").rstrip("/"),
        airbyte=settings.airbyte.url.removesuffix("/").removesuffix(API),
        data_docs=lake.address(f"{names.SITE}quality/index.html"),
        dbt_docs=lake.address(f"{names.SITE}dbt/index.html"),
        dashboards=lake.address(f"{names.SITE}dashboards/index.html"),
        runbook=settings.slack.runbook,
    )


@contextmanager
def _airbyte(settings: Settings) -> Iterator[AirbyteClient]:
    from millrace.secrets import SecretManager, read_secret  # imports Google's client

    given = settings.airbyte
    credentials = SecretManager(project=settings.events.project, endpoint=settings.secrets.endpoint)
    pair = [read_secret(credentials, name) for name in (given.client_id_secret, given.client_secret_secret)]
    with AirbyteClient(given.url, *pair, timeout_s=PATIENCE_S) as client:
        yield client


def _prefect(since: datetime, now: datetime) -> PrefectFacts:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():  # its client would start a server of its own, and ask that
        raise SettingsError("no Prefect server is named: set PREFECT_API_URL")
    with get_client(sync_client=True) as client:
        return ask_prefect(client, since, now)
