"""The version of every row of a table that was read from one object."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_job.steps.keys import Origin, encode_version
from beam_job.steps.rows import GENERATION_ID, extracted_at
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import BatchObject


def encode_versions(
    table: pa.Table,
    contract: StreamContract,
    what: BatchObject,
    columns: dict[str, pa.Array],
    rows: npt.NDArray[np.int64],
) -> pa.Array:
    """`_version` of rows: `columns` has the contract's order columns, `rows` their positions in the object."""
    generations = _generations(table, contract, what)
    first = int(generations[0]) if len(generations) else what.generation_id
    origin = Origin(what.epoch, first, what.job_id, what.name, what.generation)
    differ = generations if (generations != first).any() else None
    return encode_version(origin, [columns[name] for name in contract.order], extracted_at(table), rows, differ)


def _generations(table: pa.Table, contract: StreamContract, what: BatchObject) -> npt.NDArray[np.int64]:
    """Airbyte's generation of each row: its own, or else its manifest's; a snapshot is of one."""
    told = GENERATION_ID in table.column_names and contract.mode != "overwrite"
    if not told:
        return np.full(table.num_rows, what.generation_id, np.int64)
    own = pc.fill_null(table.column(GENERATION_ID).combine_chunks().cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return np.where(own > 0, own, what.generation_id)
