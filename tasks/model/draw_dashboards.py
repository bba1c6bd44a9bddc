"""Keeps charts over the published marts in the lake's bucket."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.context import open_lake, open_marts
from tasks.model.site import upload_site
from tasks.retries import DELAYS_S, is_transient


@task(
    task_run_name="draw dashboards",
    retries=1,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
    cache_policy=NO_CACHE,
)
def draw_dashboards() -> int:
    """Draw all charts from what is published now, in the place of those before; returns how many files."""
    from millrace.dashboards.draw import draw  # imports Altair, and the renderer that has a JavaScript engine in it

    with tempfile.TemporaryDirectory() as folder:
        draw(open_marts(), Path(folder), datetime.now(UTC))
        return upload_site(open_lake(), Path(folder), "dashboards")
