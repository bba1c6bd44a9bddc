"""Changes the column types of a stream's table to those of its contract."""

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from millrace.domain.errors import WarehouseBusy
from tasks.context import open_warehouse, stream_contract


@task(task_run_name="migrate {source}.{stream}", cache_policy=NO_CACHE)
def migrate_table(source: str, stream: str, alone: bool) -> dict[str, str]:
    """Change the columns whose types differ from the contract; returns them with their new types.

    Raises:
        WarehouseBusy: a merge of the stream is running.
        ContractError: a column can't be converted to the contract's type.
    """
    contract = stream_contract(source, stream)
    if not alone:
        raise WarehouseBusy(f"a merge of {contract.id} is running; run migrate again when it has ended")
    changed = open_warehouse().migrate(contract)
    create_table_artifact(
        [{"column": name, "type": kind} for name, kind in changed.items()],
        key="migrated",
        description=f"Columns of {contract.id} with a new type",
    )
    return changed
