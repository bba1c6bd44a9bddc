"""Keys in, names of the lake's files that hold rows of them out: copies that remain after an erasure."""

from collections.abc import Collection, Iterator

from beam_job.steps.files import DataFile
from beam_job.steps.rows import column_types, conform_column
from millrace.contracts.erasure import key_text
from millrace.contracts.stream import StreamContract
from millrace.domain import names
from millrace.domain.batch import BatchObject
from millrace.domain.errors import FileRejected
from millrace.lake.store import Lake, ObjectInfo

DATA = (".parquet", ".avro")


def files_with(lake: Lake, contract: StreamContract, keys: Collection[tuple[str, ...]]) -> Iterator[str]:
    """Yield the names of landed and quarantined files that have a row of a key or can not be read.

    Args:
        lake: the lake of the files.
        contract: the stream.
        keys: each as `key_text` writes it.
    """
    for prefix in (
        names.raw_prefix(contract.source, contract.stream),
        f"{names.QUARANTINE}{contract.source}/{contract.stream}/",
    ):
        for info in lake.list(prefix):
            if info.name.endswith(DATA) and _holds(lake, contract, info, keys):
                yield info.name


def _holds(lake: Lake, contract: StreamContract, info: ObjectInfo, keys: Collection[tuple[str, ...]]) -> bool:
    obj = BatchObject(
        name=info.name, generation=info.generation, size=info.size, rows=None, job_id=0, epoch=0, generation_id=0
    )
    types = column_types(contract)
    try:
        for _, table in DataFile(lake, obj).chunks(list(contract.key)):
            if table.num_columns < len(contract.key):
                return False
            columns = [
                conform_column(table.column(name).combine_chunks(), types[name])[0].to_pylist() for name in contract.key
            ]
            if any(None not in row and key_text(contract, row) in keys for row in zip(*columns, strict=True)):
                return True
    except FileRejected:
        return True  # an unreadable file may hold a key
    return False
