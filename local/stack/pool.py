"""Makes the work pool of this machine: `python -m local.stack.pool`.

A process pool whose command forks a process that has the libraries imported; on another machine the pool is of another
type, and the deployments are the same.
"""

import os
import shlex
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from local.stack.place import POOL, load_place
from millrace.settings.tree import ROOT


def main() -> None:
    """Create or update the pool."""
    place = load_place(Path(os.environ["MILLRACE_STATE"]))
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = shlex.join([*place.launcher, "prefect.engine"])
    template["variables"]["properties"]["working_dir"]["default"] = str(ROOT)
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


if __name__ == "__main__":
    main()
