"""Publishes charts of the published marts in the lake's bucket."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tasks.context import open_lake, open_marts
from tasks.model.site import upload_site
from tasks.retries import uncached_task


@uncached_task(task_run_name="draw dashboards", retries=1)
def draw_dashboards() -> int:
    """Replace all charts by those of the currently published marts; returns the number of files."""
    from millrace.dashboards.draw import draw  # imports Altair, and the renderer that has a JavaScript engine in it

    with tempfile.TemporaryDirectory() as folder:
        draw(open_marts(), Path(folder), datetime.now(UTC))
        return upload_site(open_lake(), Path(folder), "dashboards")
