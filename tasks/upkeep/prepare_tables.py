"""Creates the tables of declared streams that have not landed yet, and adds columns that contracts have gained."""

from millrace.warehouse.prepare import prepare_streams
from tasks.context import open_warehouse, select_sources
from tasks.retries import uncached_task


@uncached_task(task_run_name="prepare tables", retries=2)
def prepare_tables(source: str | None = None) -> list[str]:
    """Prepare the tables of every declared stream, or those of one source; return the streams that lacked something.

    Model runs may only read these tables: they build without a stream that has no table, and wait for a missing column.

    Raises:
        AccessDenied: this process may not create tables.
    """
    streams = [stream for contract in select_sources(source) for stream in contract.streams.values()]
    return [stream.id for stream in prepare_streams(open_warehouse(), streams)]
