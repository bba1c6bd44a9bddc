"""Publishes dbt's documentation of the marts in the lake's bucket."""

import tempfile
from pathlib import Path

from millrace.domain import names
from millrace.project import current_project
from tasks.context import open_lake, open_warehouse
from tasks.model.dbt import invoke_dbt, project_digest
from tasks.retries import transient_task


@transient_task(task_run_name="document marts", retries=2)
def document_marts(candidate: str) -> bool:
    """Build dbt's documentation as one page; returns False when the project has not changed since the last build."""
    lake = open_lake()
    page, mark = (
        f"{names.SITE}dbt/index.html",
        f"{names.SITE}dbt/project-{project_digest(current_project().dbt_project)}",
    )
    if lake.stat(mark):
        return False
    warehouse = open_warehouse()
    with tempfile.TemporaryDirectory() as target, warehouse.reader("dbt docs"):
        invoke_dbt(["docs", "generate", "--static"], warehouse.dbt_environment(candidate), Path(target))
        lake.upload(page, str(Path(target) / "static_index.html"), "text/html")
    lake.write(mark, b"")
    return True
