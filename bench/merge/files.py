"""The workload's data files, written once for each set of parameters."""

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.merge import columns, workload
from bench.merge.workload import Batch, Target
from local.servers.airbyte import destination
from local.servers.airbyte.destination import to_avro

AVRO_CODEC = {"compression_codec": {"codec": "snappy"}}


def data_files(cache: Path, rows: Target | Batch) -> list[Path]:
    """Its files in order; made when the cache lacks them, or the code that makes them has changed."""
    parameters = "-".join(str(value) for value in asdict(rows).values())
    made_by = fingerprint(Path(module.__file__ or "") for module in (columns, workload, destination))
    folder = cache / f"{type(rows).__name__.lower()}-{parameters}-{made_by}"
    if not folder.exists():
        print(f"making {rows}", flush=True)
        partly = folder.with_name(folder.name + ".part")
        shutil.rmtree(partly, ignore_errors=True)
        partly.mkdir(parents=True)
        ending = getattr(rows, "format", "parquet")
        for number, parts in enumerate(rows.make_files()):
            write = _write_avro if ending == "avro" else _write_parquet
            write(partly / f"{number:05d}.{ending}", parts)
        partly.rename(folder)
    return sorted(folder.iterdir())


def fingerprint(files: Iterable[Path], *texts: str) -> str:
    """A short hash of what files hold, and of some texts."""
    parts = [*(path.read_bytes() for path in sorted(files)), *(text.encode() for text in texts)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:8]


def _write_parquet(path: Path, parts: Iterable[pa.Table]) -> None:
    """A file as Airbyte's destination writes it, a row group for each part."""
    writer: pq.ParquetWriter | None = None
    for part in parts:
        writer = writer or pq.ParquetWriter(path, part.schema, compression="snappy")
        writer.write_table(part)
    if writer:
        writer.close()


def _write_avro(path: Path, parts: Iterable[pa.Table]) -> None:
    path.write_bytes(to_avro(pa.concat_tables(parts), AVRO_CODEC))
