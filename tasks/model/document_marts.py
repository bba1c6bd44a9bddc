"""Publishes dbt's documentation of the marts in the lake's bucket."""

import tempfile
from pathlib import Path

from millrace.domain import names
from millrace.project import current_project
from tasks.context import open_lake, open_warehouse
from tasks.model.dbt import invoke_dbt, project_digest
from tasks.retries import uncached_task


@uncached_task(task_run_name="document marts", retries=2)
def document_marts() -> bool:
    """Build dbt's documentation as one page; returns False when the page has the published marts' project already.

    Nothing is built while the marts are those of an earlier project: the publication of the new one documents it.
    """
    lake, warehouse, project = open_lake(), open_warehouse(), project_digest(current_project().dbt_project)
    page, mark, newest = f"{names.SITE}dbt/index.html", f"{names.SITE}dbt/project-{project}", warehouse.newest_model()
    if newest is None or newest.detail != project or lake.stat(mark):
        return False
    with tempfile.TemporaryDirectory() as folder, warehouse.reader("dbt docs"):
        target = Path(folder) / "target"
        invoke_dbt(["docs", "generate", "--static"], warehouse.published_environment(Path(folder)), target)
        lake.upload(page, str(target / "static_index.html"), "text/html")
    lake.write(mark, b"")
    return True
