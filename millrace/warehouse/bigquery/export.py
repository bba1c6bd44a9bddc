"""The published marts in, a Parquet file of each out, page by page."""

from pathlib import Path

import pyarrow.parquet as pq

from millrace.domain.errors import MartsMissing
from millrace.warehouse.bigquery.jobs import Jobs

TABLES = """
SELECT table_name FROM {dataset}INFORMATION_SCHEMA.TABLES WHERE table_type IN ('BASE TABLE', 'VIEW') ORDER BY table_name
"""


def export_marts(jobs: Jobs, dataset: str, folder: Path) -> list[Path]:
    """Write `<mart>.parquet` of every table of a dataset (`<project>.<dataset>.`, quoted) into a folder.

    Raises:
        MartsMissing: the dataset has no tables.
    """
    marts = [str(name) for (name,) in jobs.rows(TABLES.format(dataset=dataset), step="export")]
    if not marts:
        raise MartsMissing(f"{dataset.rstrip('.')} has no tables yet; the first run of the flow model publishes them")
    files = []
    for mart in marts:
        files.append(folder / f"{mart}.parquet")
        _write(jobs, f"SELECT * FROM {dataset}`{mart}`", files[-1])  # noqa: S608  names of our own dataset
    return files


def _write(jobs: Jobs, sql: str, file: Path) -> None:
    writer = None
    try:
        for batch in jobs.batches(sql, step="export"):
            writer = writer or pq.ParquetWriter(file, batch.schema)
            writer.write_batch(batch)
        if writer is None:
            pq.write_table(jobs.table(sql, step="export", most_rows=0), file)
    finally:
        if writer:
            writer.close()
