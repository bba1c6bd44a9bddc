"""Links to a Looker Studio report of the same queries: https://developers.google.com/looker-studio/integrate/linking-api."""

from urllib.parse import urlencode

from millrace.dashboards.boards import Board, load_boards
from millrace.domain.errors import SettingsError
from millrace.project import current_project
from millrace.warehouse.engines import looker_dataset
from millrace.warehouse.reader import SCHEMA

CREATE = "https://lookerstudio.google.com/reporting/create"


def report_link(marts_url: str) -> str:
    """Return a link that creates a report with one data source per dashboard, each a query over the marts.

    Raises:
        SettingsError: the marts are not on BigQuery.
    """
    names = looker_dataset(marts_url)
    if names is None:
        raise SettingsError(f"Looker Studio reads BigQuery, and the marts are at {marts_url!r}")
    project, dataset = names
    parameters = {"c.mode": "edit", "r.reportName": "Millrace"}
    boards = [board for board in load_boards(current_project().dashboards) if isinstance(board, Board)]
    for index, board in enumerate(boards):
        source = f"ds.ds{index}"
        parameters |= {
            f"{source}.connector": "bigQuery",
            f"{source}.type": "CUSTOM_QUERY",
            f"{source}.datasourceName": board.title,
            f"{source}.projectId": project,
            f"{source}.billingProjectId": project,
            f"{source}.sql": board.sql.replace(SCHEMA, f"`{project}`.`{dataset}`."),
        }
    return f"{CREATE}?{urlencode(parameters)}"
