"""The drawn dashboards in the lake in; their charts that could not be drawn, as troubles, out."""

from datetime import datetime

from pydantic import TypeAdapter

from millrace.domain import names
from millrace.domain.errors import ObjectMissing
from millrace.domain.types import Frozen
from millrace.lake.store import Lake
from millrace.status.types import Trouble

STATES = f"{names.SITE}dashboards/charts.json"


class _Chart(Frozen):
    """What the drawing of dashboards says of one chart; `error` is '' when it was drawn."""

    name: str
    title: str
    error: str
    at: datetime


CHARTS = TypeAdapter(list[_Chart])


def chart_troubles(lake: Lake) -> dict[str, Trouble]:
    """Return a trouble for each chart that the newest drawing left out; none before the first one."""
    try:
        charts = CHARTS.validate_json(lake.read(STATES))
    except ObjectMissing:
        return {}
    return {
        f"dashboard {chart.name}": Trouble(
            at=chart.at,
            sentence=f"The chart “{chart.title}” can't be drawn: {chart.error}",
            kind="ChartFailed",
            command="millrace dashboards --watch",
        )
        for chart in charts
        if chart.error
    }
