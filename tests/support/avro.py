"""Avro files for tests: values in, bytes of a file out; those bytes in, the rows that the job reads out."""

import io
from typing import Any, cast

import fastavro
import pyarrow as pa

from beam_job.steps.files import DataFile
from millrace.domain.batch import BatchObject
from millrace.lake.store import Lake
from tests.support.in_process import MemoryLake


def written(schema_type: Any, values: list[Any], codec: str = "null", **more: Any) -> bytes:
    schema = {"type": "record", "name": "row", "fields": [{"name": "v", "type": schema_type, **more}]}
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, [{"v": value} for value in values], codec=codec, sync_interval=300)
    return buffer.getvalue()


def data_file(data: bytes, name: str = "raw/a/b/sync_id=1/0.avro") -> DataFile:
    lake = cast(Lake, MemoryLake())
    generation = lake.write(name, data)
    obj = BatchObject(name=name, generation=generation, size=len(data), rows=None, job_id=1, epoch=0, generation_id=0)
    return DataFile(lake, obj)


def read(data: bytes, columns: list[str] | None = None) -> pa.Table:
    file = data_file(data)
    tables = [table for _, table in file.chunks(columns)]
    assert columns or all(table.schema == file.schema for table in tables)
    return pa.concat_tables(tables)
