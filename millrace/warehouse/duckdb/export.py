"""The published marts in, a Parquet file of each out, all of one publication and in bounded memory."""

from pathlib import Path

import duckdb

from millrace.domain.errors import MartsMissing
from millrace.warehouse.duckdb.sql import quote, text
from millrace.warehouse.duckdb.strangers import own

MARTS = """
SELECT table_name FROM information_schema.tables WHERE table_schema = 'marts' ORDER BY 1
"""


def export_marts(published: Path, folder: Path) -> list[Path]:
    """Write `<mart>.parquet` of every mart into a folder; the open file keeps its content when another one replaces it.

    Raises:
        MartsMissing: nothing is published.
    """
    if not published.exists():
        raise MartsMissing(f"nothing is published at {published} yet; the first run of the flow model does")
    files = []
    with duckdb.connect(str(published), read_only=True) as db:
        made = own(db)
        for (mart,) in db.execute(MARTS).fetchall():
            if f"marts.{mart}" in made:
                files.append(folder / f"{mart}.parquet")
                db.execute(f"COPY (FROM marts.{quote(mart)}) TO {text(str(files[-1]))} (FORMAT parquet)")
    return files
