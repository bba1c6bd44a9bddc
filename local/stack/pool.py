"""Creates the work pool of this machine: `python -m local.stack.pool`.

Its runs are forks of a process that has already imported the libraries. Elsewhere the pool may have another type, for
the same deployments.
"""

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from local.stack.local_stack import POOL
from millrace.project import CODE
from millrace.worker.warm_worker import WarmWorker


def main() -> None:
    """Create or update the pool."""
    template = WarmWorker.get_default_base_job_template()
    template["variables"]["properties"]["working_dir"]["default"] = str(CODE)
    with get_client(sync_client=True) as client:
        try:
            if client.read_work_pool(POOL).type == WarmWorker.type:
                client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
                return
            client.delete_work_pool(POOL)  # of a state made by an earlier version; the type of a pool can't change
        except ObjectNotFound:
            pass
        client.create_work_pool(WorkPoolCreate(name=POOL, type=WarmWorker.type, base_job_template=template))


if __name__ == "__main__":
    main()
