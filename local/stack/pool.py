"""Creates the work pool of this machine: `python -m local.stack.pool`.

Its command forks a process that has already imported the libraries. Elsewhere the pool has another type, for the same
deployments.
"""

import os
import shlex
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from local.stack.local_stack import POOL, load_stack
from millrace.project import CODE


def main() -> None:
    """Create or update the pool."""
    stack = load_stack(Path(os.environ["MILLRACE_STATE"]))
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = shlex.join([*stack.launcher, "prefect.engine"])
    template["variables"]["properties"]["working_dir"]["default"] = str(CODE)
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


if __name__ == "__main__":
    main()
