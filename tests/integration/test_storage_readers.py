"""Cloud Storage through the other clients that read the lake: pyarrow and Beam."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud import storage
from pyarrow.fs import FileSelector, GcsFileSystem

from tests.support.clients import PROJECT

pytest_plugins = ["tests.support.stand_ins"]
TABLE = pa.table({"id": range(100_000), "name": [f"row {n}" for n in range(100_000)]})


def filesystem(bucket: storage.Bucket) -> GcsFileSystem:
    address = bucket.client._connection.API_BASE_URL.removeprefix("http://")
    return GcsFileSystem(anonymous=True, scheme="http", endpoint_override=address, project_id=PROJECT)


def test_pyarrow_reads_a_file_and_its_columns(bucket: storage.Bucket) -> None:
    buffer = io.BytesIO()
    pq.write_table(TABLE, buffer)
    bucket.blob("raw/a/1.parquet").upload_from_string(buffer.getvalue())
    path = f"{bucket.name}/raw/a/1.parquet"
    assert pq.read_table(path, filesystem=filesystem(bucket)) == TABLE
    assert pq.read_table(path, columns=["id"], filesystem=filesystem(bucket)) == TABLE.select(["id"])


def test_pyarrow_writes_lists_and_deletes(bucket: storage.Bucket) -> None:
    files = filesystem(bucket)
    pq.write_table(TABLE, f"{bucket.name}/out/1.parquet", filesystem=files)
    listed = files.get_file_info(FileSelector(f"{bucket.name}/out", recursive=True))
    assert [info.path for info in listed] == [f"{bucket.name}/out/1.parquet"]
    assert pq.read_table(io.BytesIO(bucket.blob("out/1.parquet").download_as_bytes())) == TABLE
    files.delete_file(f"{bucket.name}/out/1.parquet")
    assert bucket.get_blob("out/1.parquet") is None


def test_beam_writes_reads_copies_and_deletes(bucket: storage.Bucket) -> None:
    from apache_beam.io.gcp.gcsio import GcsIO  # imports Beam, which takes a second

    gcs, folder = GcsIO(storage_client=bucket.client), f"gs://{bucket.name}/beam"
    with gcs.open(f"{folder}/a.txt", "w") as stream:
        stream.write(b"hello " * 100_000)
    with gcs.open(f"{folder}/a.txt") as stream:
        stream.seek(6)
        assert stream.read() == b"hello " * 99_999
    assert list(gcs.list_files(f"{folder}/")) == [(f"{folder}/a.txt", 600_000)]
    assert gcs.copy_batch([(f"{folder}/a.txt", f"{folder}/b.txt")]) == [(f"{folder}/a.txt", f"{folder}/b.txt", None)]
    assert gcs.delete_batch([f"{folder}/a.txt"]) == [(f"{folder}/a.txt", None)]
    assert not gcs.exists(f"{folder}/a.txt")
    assert gcs.size(f"{folder}/b.txt") == 600_000
