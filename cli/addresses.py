"""Addresses of the platform's pages, from its settings."""

import os

from millrace.domain.names import SITE
from millrace.lake.store import address_of
from millrace.settings import Settings

SITES = {
    "status": "status/index.html",
    "dashboards": "dashboards/index.html",
    "quality": "quality/index.html",
    "dbt": "dbt/index.html",
}
PAGES = (*SITES, "prefect", "slack", "airbyte", "looker")


def addresses(settings: Settings, servers: dict[str, str]) -> dict[str, str]:
    """Page → address; `servers` are those of the stack on this machine, by name (host and port)."""
    lake = settings.lake
    found = {name: address_of(lake.url, lake.endpoint, f"{SITE}{path}") for name, path in SITES.items()}
    ui = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    found["prefect"] = f"{ui}/runs"
    if "slack" in servers:
        found["slack"] = f"http://{servers['slack']}"
    found["airbyte"] = settings.airbyte.url.removesuffix("/api/public/v1")
    if settings.warehouse.marts_url.startswith("bigquery://"):
        from millrace.dashboards.looker import report_link

        found["looker"] = report_link(settings.warehouse.marts_url)
    return found
