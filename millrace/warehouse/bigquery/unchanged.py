"""Unchanged values in BigQuery: a staged batch in, what its merge has to look up out.

Streams without unchanged values pay for one look at the list of tables, which is no job and costs nothing.
"""

from google.api_core import exceptions

from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import Staged
from millrace.warehouse.bigquery import unchanged_sql as own
from millrace.warehouse.bigquery.jobs import Jobs
from millrace.warehouse.bigquery.unchanged_sql import Unchanged


def prepare(jobs: Jobs, contract: StreamContract, staged: Staged, before: str, floor: str) -> Unchanged:
    """Return what a merge looks up; create the table of unchanged values for the first batch that has any.

    Args:
        jobs: the warehouse.
        contract: the stream.
        staged: the staged rows.
        before: the floor of the head before the batch.
        floor: the floor of the head after it.
    """
    marks = contract.placeholders
    if not marks:
        return Unchanged()
    tracked = is_tracked(jobs, contract)
    if staged.every_upsert and not tracked:
        jobs.rows(own.create(jobs.namespace, contract), step="prepare", contract=contract)
    lacking = {name: marks[name] for name in staged.unchanged if name in marks}
    columns = {name: f"s._millrace_{number}" for number, name in enumerate(lacking)}
    if tracked:
        columns |= {name: own.WHOLE for name in marks if name not in columns}
    return Unchanged(columns, lacking, staged.every_upsert, before, floor)


def is_tracked(jobs: Jobs, contract: StreamContract) -> bool:
    """Return whether some batch of the stream had unchanged values."""
    table = jobs.namespace.id("ops", names.unchanged_table(contract.source, contract.stream))
    with jobs.translate_errors(f"find unchanged values of {contract.id}"):
        try:
            jobs.client.get_table(table, retry=jobs.retry)
        except exceptions.NotFound:
            return False
    return True
