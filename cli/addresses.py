"""Addresses of the platform's pages, from its settings."""

import os

from millrace.domain.names import SITE
from millrace.lake.store import address_of
from millrace.settings import Settings
from millrace.warehouse.engines import looker_dataset

SITES = {
    "status": "status/index.html",
    "dashboards": "dashboards/index.html",
    "quality": "quality/index.html",
    "dbt": "dbt/index.html",
}
PAGES = (*SITES, "prefect", "slack", "airbyte", "looker")


def addresses(settings: Settings, servers: dict[str, str]) -> dict[str, str]:
    """Return the address of each page; `servers` maps the local stack's servers to their host and port."""
    lake = settings.lake
    pages = {name: address_of(lake.url, lake.endpoint, f"{SITE}{path}") for name, path in SITES.items()}
    ui = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    pages["prefect"] = f"{ui}/runs"
    if "slack" in servers:
        pages["slack"] = f"http://{servers['slack']}"
    pages["airbyte"] = settings.airbyte.url.removesuffix("/api/public/v1")
    if looker_dataset(settings.warehouse.marts_url):
        from millrace.dashboards.looker import report_link

        pages["looker"] = report_link(settings.warehouse.marts_url)
    return pages
