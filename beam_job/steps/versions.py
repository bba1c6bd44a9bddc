"""A table that was read from one object in, the version of each of its rows out."""

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.keys import Origin, encode_version
from beam_job.steps.rows import GENERATION_ID, extracted_at
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import BatchObject

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_versions(
    table: pa.Table,
    contract: StreamContract,
    obj: BatchObject,
    order: list[pa.Array],
    rows: npt.NDArray[np.int64],
) -> pa.Array:
    """Return `_version` of each row; `order` are the parts of its order columns, `rows` the positions in the object."""
    generations = _generations(table, contract, obj)
    first = int(generations[0]) if len(generations) else obj.generation_id
    origin = Origin(obj.epoch, first, _microseconds(obj.job_created_at), obj.job_id, obj.name, obj.generation)
    differ = generations if (generations != first).any() else None
    return encode_version(origin, order, extracted_at(table), rows, differ)


def _microseconds(at: datetime | None) -> int:
    """Return a time as microseconds since 1970; 0 for an object that is read outside a batch."""
    if at is None:
        return 0
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)


def _generations(table: pa.Table, contract: StreamContract, obj: BatchObject) -> npt.NDArray[np.int64]:
    """Return Airbyte's generation of each row, or else that of its manifest; a snapshot has only one."""
    by_row = GENERATION_ID in table.column_names and contract.mode != "overwrite"
    if not by_row:
        return np.full(table.num_rows, obj.generation_id, np.int64)
    own = pc.fill_null(table.column(GENERATION_ID).combine_chunks().cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return np.where(own > 0, own, obj.generation_id)


def lowest_generation(table: pa.Table, contract: StreamContract, obj: BatchObject) -> int:
    """Return the lowest of Airbyte's generations of the rows; that of the manifest if there are none."""
    if GENERATION_ID in table.column_names and contract.mode != "overwrite":
        column = table.column(GENERATION_ID).cast(pa.int64())
        lowest = pc.min(column).as_py()
        if lowest is not None and lowest > 0 and not column.null_count:
            return int(lowest)
    return int(_generations(table, contract, obj).min()) if table.num_rows else obj.generation_id
