"""Gives a stream's table the types of its contract."""

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from millrace.domain.errors import WarehouseBusy
from tasks.context import open_warehouse, stream_contract


@task(task_run_name="migrate {source}.{stream}", cache_policy=NO_CACHE)
def migrate_table(source: str, stream: str, alone: bool) -> dict[str, str]:
    """Change what the contract says otherwise than the table; returns the changed columns with their types.

    Raises:
        WarehouseBusy: a merge of the stream is at work.
        ContractError: a column can't become what the contract says.
    """
    contract = stream_contract(source, stream)
    if not alone:
        raise WarehouseBusy(f"a merge of {contract.id} is at work; run migrate again when it has ended")
    changed = open_warehouse().migrate(contract)
    create_table_artifact(
        [{"column": name, "type": kind} for name, kind in changed.items()],
        key="migrated",
        description=f"Columns of {contract.id} that have another type now",
    )
    return changed
