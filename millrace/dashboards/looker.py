"""A Looker Studio report over the same queries, as a link: https://developers.google.com/looker-studio/integrate/linking-api."""

from urllib.parse import urlencode

from millrace.dashboards.boards import load_boards
from millrace.domain.errors import SettingsError
from millrace.settings.tree import ROOT
from millrace.warehouse.reader import SCHEMA

CREATE = "https://lookerstudio.google.com/reporting/create"


def report_link(marts_url: str) -> str:
    """A link that makes a report with one data source per dashboard, each a query over the marts.

    Raises:
        SettingsError: the marts are not on BigQuery.
    """
    project, _, dataset = marts_url.removeprefix("bigquery://").partition("/")
    if not marts_url.startswith("bigquery://") or not dataset:
        raise SettingsError(f"Looker Studio reads BigQuery, and the marts are at {marts_url!r}")
    given = {"c.mode": "edit", "r.reportName": "Flights from New York"}
    for place, board in enumerate(load_boards(ROOT / "dashboards")):
        source = f"ds.ds{place}"
        given |= {
            f"{source}.connector": "bigQuery",
            f"{source}.type": "CUSTOM_QUERY",
            f"{source}.datasourceName": board.title,
            f"{source}.projectId": project,
            f"{source}.billingProjectId": project,
            f"{source}.sql": board.sql.replace(SCHEMA, f"`{project}`.`{dataset}`."),
        }
    return f"{CREATE}?{urlencode(given)}"
