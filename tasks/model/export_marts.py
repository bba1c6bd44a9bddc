"""Writes the published marts as Parquet files into the lake, for readers without the warehouse's engine."""

import json
import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from millrace.domain import names
from millrace.lake.store import Lake
from millrace.observability.events import log_event
from millrace.settings import load_settings
from tasks.context import export_published, open_lake, open_warehouse
from tasks.retries import uncached_task

log = logging.getLogger(__name__)

PARQUET = "application/vnd.apache.parquet"
KEPT = 2
"""Publications whose files stay: a reader of the one before may still read them."""


@uncached_task(task_run_name="export marts", retries=1)
def export_marts() -> int:
    """Write `_site/marts/<publication>/<mart>.parquet` and then the index that names them; returns the number of files.

    Nothing is written unless `marts.export` is set, or when other marts are published meanwhile: their run exports.
    """
    if not load_settings().marts.export:
        return 0
    lake, publication = open_lake(), _publication()
    with tempfile.TemporaryDirectory() as folder:
        files = export_published(Path(folder))
        if _publication() != publication:
            log_event(log, logging.INFO, "marts.not_exported", publication=publication)
            return 0
        for file in files:
            lake.upload(f"{names.MARTS_EXPORT}{publication}/{file.name}", str(file), PARQUET)
        _write_index(lake, publication, files)
    return len(files)


def _publication() -> str:
    """Return the name of the published candidate."""
    newest = open_warehouse().newest_model()
    return newest.batch_id if newest else ""


def _write_index(lake: Lake, publication: str, files: list[Path]) -> None:
    """Name the files of the newest publication in one object, which replaces the last; delete those of older ones."""
    index = f"{names.MARTS_EXPORT}index.json"
    earlier = json.loads(lake.read(index))["publications"] if lake.stat(index) else []
    publications = [publication, *(name for name in earlier if name != publication)][:KEPT]
    marts = {
        file.stem: {
            "rows": pq.ParquetFile(file).metadata.num_rows,
            "url": f"{lake.url}/{names.MARTS_EXPORT}{publication}/{file.name}",
        }
        for file in files
    }
    at = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"publication": publication, "at": at, "marts": marts, "publications": publications}
    lake.write(index, json.dumps(document, indent=1).encode(), "application/json")
    for info in lake.list(names.MARTS_EXPORT):
        if info.name != index and info.name.removeprefix(names.MARTS_EXPORT).split("/")[0] not in publications:
            lake.delete(info.name)
