"""Cloud Storage through Google's client: uploads, reads, lists, generations and preconditions."""

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from google.cloud import storage
from google.cloud.exceptions import GoogleCloudError

from tests.support.clients import killable, put, storage_client, unique, write_until_killed
from tests.support.servers import free_port, server

pytest_plugins = ["tests.support.stand_ins"]
CHUNK = 256 * 1024
NAMES = ["raw/a/1.parquet", "raw/a/2.parquet", "raw/b/1.parquet", "raw/c 50%/ü?#&+.json", "raw/top.json", "zz"]


def resumable(bucket: storage.Bucket, name: str, data: bytes, **conditions: Any) -> storage.Blob:
    blob = bucket.blob(name, chunk_size=CHUNK)
    blob.upload_from_file(io.BytesIO(data), content_type="application/x-test", **conditions)
    return blob


def names(listed: Any) -> list[str]:
    return [blob.name for blob in listed]


def test_bucket_is_created_listed_and_deleted(announcing_storage: storage.Client) -> None:
    bucket = announcing_storage.create_bucket(unique("bucket"))
    assert announcing_storage.get_bucket(bucket.name).name == bucket.name
    assert bucket.name in names(announcing_storage.list_buckets())
    with pytest.raises(Conflict):
        announcing_storage.create_bucket(bucket.name)
    blob = put(bucket, "a")
    with pytest.raises(Conflict):
        bucket.delete()
    blob.delete()
    bucket.delete()
    with pytest.raises(NotFound):
        announcing_storage.get_bucket(bucket.name)
    with pytest.raises(NotFound):
        put(bucket, "a")
    with pytest.raises(NotFound):
        names(announcing_storage.list_blobs(bucket))


@pytest.mark.parametrize("data", [b"", b"small", b"--boundary\r\n\r\n\n--\r\n" * 9, os.urandom(3 * CHUNK + 17)])
@pytest.mark.parametrize("upload", [put, resumable])
def test_upload_reads_back_unchanged(bucket: storage.Bucket, upload: Any, data: bytes) -> None:
    written = upload(bucket, "raw/ü b?.bin", data)
    blob = bucket.get_blob("raw/ü b?.bin")
    assert blob.download_as_bytes() == data
    assert (blob.size, blob.generation, blob.metageneration) == (len(data), written.generation, 1)
    assert blob.crc32c == written.crc32c
    assert blob.time_created is not None


def test_resumable_upload_is_invisible_until_done(bucket: storage.Bucket) -> None:
    data = os.urandom(2 * CHUNK + 5)
    with bucket.blob("stream").open("wb", chunk_size=CHUNK) as stream:
        stream.write(data)
        assert bucket.get_blob("stream") is None
    assert bucket.blob("stream").download_as_bytes() == data


def test_cut_resumable_upload_continues(bucket: storage.Bucket) -> None:
    data = os.urandom(2 * CHUNK)
    session = bucket.blob("cut").create_resumable_upload_session(size=len(data))
    answer = requests.put(session, data[:CHUNK], headers={"content-range": f"bytes 0-{CHUNK - 1}/{len(data)}"})
    assert (answer.status_code, answer.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    progress = requests.put(session, headers={"content-range": f"bytes */{len(data)}"})
    assert (progress.status_code, progress.headers["range"]) == (308, f"bytes=0-{CHUNK - 1}")
    rest = {"content-range": f"bytes {CHUNK}-{len(data) - 1}/{len(data)}"}
    assert requests.put(session, data[CHUNK:], headers=rest).status_code == 200
    assert bucket.blob("cut").download_as_bytes() == data


def test_repeated_last_chunk_gets_the_same_answer(bucket: storage.Bucket) -> None:
    session = bucket.blob("again").create_resumable_upload_session(size=5, if_generation_match=0)
    headers = {"content-range": "bytes 0-4/5"}
    first, again = (requests.put(session, b"hello", headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()


def test_checksum_mismatch_is_rejected(bucket: storage.Bucket) -> None:
    blob = bucket.blob("torn")
    blob.crc32c = "AAAAAA=="
    with pytest.raises(BadRequest):
        blob.upload_from_string(b"hello", checksum=None)
    assert bucket.get_blob("torn") is None


def test_ranges_are_read(bucket: storage.Bucket) -> None:
    blob = put(bucket, "digits", b"0123456789")
    assert blob.download_as_bytes(start=2, end=4) == b"234"
    assert blob.download_as_bytes(start=7) == b"789"
    assert blob.download_as_bytes(start=8, end=99) == b"89"
    with pytest.raises(GoogleCloudError) as refused:
        blob.download_as_bytes(start=10)
    assert refused.value.code == 416
    with blob.open("rb", chunk_size=3) as stream:
        stream.seek(-4, io.SEEK_END)
        assert stream.read() == b"6789"


def test_page_of_the_lake_is_served_to_a_browser(bucket: storage.Bucket) -> None:
    put(bucket, "_site/dbt/index.html", b"<h1>docs</h1>", content_type="text/html")
    base = bucket.client._connection.API_BASE_URL
    answer = requests.get(f"{base}/{bucket.name}/_site/dbt/")
    assert answer.text == "<h1>docs</h1>"
    assert answer.headers["content-type"].startswith("text/html")


def test_list_has_prefix_start_and_delimiter(bucket: storage.Bucket) -> None:
    for name in reversed(NAMES):
        put(bucket, name)
    assert names(bucket.list_blobs()) == NAMES
    assert names(bucket.list_blobs(prefix="raw/a/")) == NAMES[:2]
    assert names(bucket.list_blobs(prefix="raw/", start_offset="raw/b/")) == NAMES[2:5]
    assert names(bucket.list_blobs(start_offset="raw/a/2.parquet", end_offset="raw/top.json")) == NAMES[1:4]
    assert names(bucket.list_blobs(prefix="none")) == []
    folders = bucket.list_blobs(prefix="raw/", delimiter="/")
    assert names(folders) == ["raw/top.json"]
    assert folders.prefixes == {"raw/a/", "raw/b/", "raw/c 50%/"}


def test_list_is_paged_and_limited(bucket: storage.Bucket) -> None:
    for name in NAMES:
        put(bucket, name)
    assert names(bucket.list_blobs(page_size=2)) == NAMES
    assert names(bucket.list_blobs(max_results=3)) == NAMES[:3]
    folders = bucket.list_blobs(prefix="raw/", delimiter="/", page_size=1)
    assert names(folders) == ["raw/top.json"]
    assert folders.prefixes == {"raw/a/", "raw/b/", "raw/c 50%/"}


def test_generations_grow_and_an_old_one_is_gone(bucket: storage.Bucket) -> None:
    generations = [put(bucket, "same", f"{n}".encode()).generation for n in range(20)]
    generations.append(put(bucket, "other").generation)
    bucket.blob("same").delete()
    generations.append(put(bucket, "same", b"new").generation)
    assert generations == sorted(set(generations))
    assert bucket.blob("same", generation=generations[-1]).download_as_bytes() == b"new"
    with pytest.raises(NotFound):
        bucket.blob("same", generation=generations[0]).download_as_bytes()
    assert bucket.get_blob("same", generation=generations[0]) is None


@pytest.mark.parametrize("upload", [put, resumable])
def test_write_needs_its_preconditions(bucket: storage.Bucket, upload: Any) -> None:
    existing = put(bucket, "a", b"first")
    refused = [
        {"if_generation_match": 0},
        {"if_generation_match": existing.generation - 1},
        {"if_generation_not_match": existing.generation},
    ]
    for conditions in refused:
        with pytest.raises(PreconditionFailed):
            upload(bucket, "a", b"second", **conditions)
    assert bucket.get_blob("a").generation == existing.generation
    for conditions in ({"if_generation_match": 5}, {"if_generation_not_match": 0}):
        with pytest.raises(PreconditionFailed):
            upload(bucket, "none", b"x", **conditions)
    existing = upload(bucket, "a", b"second", if_generation_match=existing.generation)
    upload(bucket, "a", b"third", if_generation_not_match=0)
    upload(bucket, "b", b"new", if_generation_match=0)
    assert bucket.blob("a").download_as_bytes() == b"third"


def test_all_operations_check_preconditions(bucket: storage.Bucket) -> None:
    existing = put(bucket, "a")
    with pytest.raises(PreconditionFailed):
        bucket.blob("a").reload(if_generation_match=existing.generation + 1)
    with pytest.raises(GoogleCloudError) as unchanged:
        bucket.blob("a").reload(if_generation_not_match=existing.generation)
    assert unchanged.value.code == 304
    for conditions in ({"if_metageneration_match": 9}, {"if_metageneration_not_match": 1}):
        with pytest.raises(PreconditionFailed):
            existing.patch(**conditions)
        with pytest.raises(PreconditionFailed):
            bucket.blob("a").delete(**conditions)
        with pytest.raises(PreconditionFailed):
            bucket.blob("a").rewrite(existing, **conditions)
    with pytest.raises(PreconditionFailed):
        bucket.blob("a").delete(if_generation_match=existing.generation + 1)
    with pytest.raises(NotFound):
        bucket.blob("a", generation=existing.generation + 1).delete()
    bucket.blob("a", generation=existing.generation).delete(if_metageneration_match=1)
    with pytest.raises(NotFound):
        bucket.blob("a").delete()


@pytest.mark.parametrize("upload", [put, resumable])
def test_exactly_one_concurrent_create_wins(bucket: storage.Bucket, upload: Any) -> None:
    barrier = threading.Barrier(16)

    def create(number: int) -> bytes | None:
        barrier.wait()
        try:
            upload(bucket, "manifest", data := f"{number}".encode(), if_generation_match=0)
        except PreconditionFailed:
            return None
        return data

    with ThreadPoolExecutor(16) as pool:
        won = [data for data in pool.map(create, range(16)) if data]
    assert len(won) == 1
    assert bucket.blob("manifest").download_as_bytes() == won[0]


def test_read_during_writes_is_whole(bucket: storage.Bucket) -> None:
    size, finished = 300_000, threading.Event()
    put(bucket, "hot", bytes([0]) * size)

    def write() -> None:
        for number in range(1, 60):
            put(bucket, "hot", bytes([number]) * size)
        finished.set()

    def read() -> None:
        while not finished.is_set():
            data = bucket.blob("hot").download_as_bytes(retry=None)
            assert len(data) == size
            assert len(set(data)) == 1

    with ThreadPoolExecutor(3) as pool:
        for running in [pool.submit(write), pool.submit(read), pool.submit(read)]:
            running.result(30)


def test_custom_metadata_can_be_changed(bucket: storage.Bucket) -> None:
    blob = bucket.blob("a")
    blob.metadata = {"ab-generation-id": "7", "other": "ü"}
    blob.upload_from_string(b"x", content_type="application/json")
    read_back = bucket.get_blob("a")
    assert read_back.metadata == {"ab-generation-id": "7", "other": "ü"}
    assert read_back.content_type == "application/json"
    read_back.metadata = {"ab-generation-id": "8", "other": None}
    read_back.patch(if_metageneration_match=1)
    again = bucket.get_blob("a")
    assert again.metadata == {"ab-generation-id": "8"}
    assert (again.generation, again.metageneration) == (blob.generation, 2)


def test_copy_and_rewrite_keep_bytes_and_metadata(bucket: storage.Bucket) -> None:
    source = bucket.blob("raw/a b.json")
    source.metadata = {"k": "v"}
    source.upload_from_string(b"hello", content_type="application/json")
    copied = bucket.copy_blob(source, bucket, "copies/a?.json", if_generation_match=0)
    rewritten = bucket.blob("rewritten")
    assert rewritten.rewrite(source) == (None, 5, 5)
    for name in (copied.name, "rewritten"):
        blob = bucket.get_blob(name)
        assert (blob.metadata, blob.content_type) == ({"k": "v"}, "application/json")
        assert blob.generation > source.generation
        assert blob.download_as_bytes() == b"hello"
    with pytest.raises(PreconditionFailed):
        bucket.copy_blob(source, bucket, "rewritten", if_generation_match=0)
    with pytest.raises(NotFound):
        bucket.copy_blob(source, bucket, "more", source_generation=source.generation + 1)


def test_batch_delete_reports_missing_objects(bucket: storage.Bucket) -> None:
    for name in NAMES:
        put(bucket, name)
    with bucket.client.batch(raise_exception=False) as batch:
        for name in [*NAMES, "none"]:
            bucket.delete_blob(name)
    assert [answer.status_code for answer in batch._responses] == [204] * len(NAMES) + [404]
    assert names(bucket.list_blobs()) == []


def test_restart_on_another_port_keeps_objects(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with server("storage", state) as port:
        bucket = storage_client(port).create_bucket("kept-bucket")
        first = put(bucket, "a", b"hello")
        session = bucket.blob("big").create_resumable_upload_session(size=CHUNK + 1)
        requests.put(session, b"x" * CHUNK, headers={"content-range": f"bytes 0-{CHUNK - 1}/{CHUNK + 1}"})
    with server("storage", state) as other:
        assert other != port
        bucket = storage_client(other).bucket("kept-bucket")
        (listed,) = bucket.list_blobs()
        assert (listed.generation, listed.download_as_bytes()) == (first.generation, b"hello")
        assert put(bucket, "a", b"new").generation > first.generation
        moved = session.replace(str(port), str(other))
        rest = requests.put(moved, b"y", headers={"content-range": f"bytes {CHUNK}-{CHUNK}/{CHUNK + 1}"})
        assert rest.status_code == 200
        assert bucket.blob("big").download_as_bytes() == b"x" * CHUNK + b"y"


@pytest.mark.parametrize("upload", [put, resumable])
def test_kill_amid_uploads_loses_no_object(tmp_path: Path, upload: Any) -> None:
    port, state = free_port(), tmp_path / "state"

    def content(name: str) -> bytes:
        return name.encode() * 30_000

    with killable("storage", state, port=port) as (_, kill):
        client = storage_client(port)
        bucket = client.create_bucket("kept-bucket")

        def write(thread: int, number: int) -> str:
            name = f"{thread}/{number}"
            upload(bucket, name, content(name), if_generation_match=0, retry=None, timeout=5)
            return name

        acknowledged = write_until_killed(write, kill, least=20)
    with server("storage", state, port=port):
        bucket = storage_client(port).bucket("kept-bucket")
        blobs = {blob.name: blob for blob in bucket.list_blobs()}
        assert set(acknowledged) <= set(blobs)
        for name, blob in blobs.items():
            assert blob.download_as_bytes() == content(name)
