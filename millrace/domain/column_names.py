"""Names of a file's columns in; the names that these columns have in the table, in every engine, out; pure.

A file's column may have any name, a table's may not. A name that a table can have stays as it is. Any other gets a
suffix that depends on nothing but the name itself, so that a column has one name in all files and on all days:
`unit price` is `unit_price_ddf02b`, `1st` is `_1st_e01ddf`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import count

from millrace.domain.types import IDENTIFIER

AIRBYTE_PREFIXES = ("_airbyte_", "_ab_")
# The platform's columns in raw tables, and in the tables that a merge joins with a stream's keys.
PLATFORM_COLUMNS = frozenset(
    {
        "_version",
        "_delete_version",
        "_deleted_at",
        "_batch_id",
        "_delete_batch_id",
        "_object",
        "_row",
        "_extracted_at",
        "_epoch",
        "_bucket",
        "_newer",
        "_known",
        "_bare",
        "_snapshot",
        "_lowest",
    }
)
PLATFORM_PREFIXES = ("_quarantine_", "_millrace_")  # beside copies of quarantined rows; of later versions
# https://cloud.google.com/bigquery/docs/schemas#column_names
BIGQUERY_PREFIXES = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_")
RESERVED_PREFIXES = (*BIGQUERY_PREFIXES, *PLATFORM_PREFIXES)
MOST_CHARACTERS = 128
HASH_DIGITS = 6
OUTSIDE = re.compile(r"[^A-Za-z0-9_]")


def table_names(columns: Sequence[str], declared: Collection[str]) -> dict[str, str]:
    """Return the name of the table's column for each of a file's columns; no two results differ by case alone.

    `declared` are the table's columns: the contract's and those that earlier files brought. Of names that differ only
    by case the declared one stays as it is, or else the first in sorted order.
    """
    table = {name.casefold(): name for name in declared}
    stays = _unchanged(columns, table)
    names = {name: name for name in stays.values()}
    taken = set(stays)
    for name in sorted(set(columns) - set(names)):
        names[name] = next(n for n in _suffixed(name) if n.casefold() not in taken and _is_free(n, table))
        taken.add(names[name].casefold())
    return {name: names[name] for name in columns}


def is_table_name(name: str) -> bool:
    """Return whether a column of a table can have the name, as long as no other differs from it by case alone."""
    return bool(IDENTIFIER.fullmatch(name)) and not is_reserved(name)


def is_reserved(name: str) -> bool:
    """Return whether the platform, BigQuery or Airbyte keeps the name for itself, in any case of its letters.

    Airbyte's columns have their names in small letters; the same letters in another case are a source's column, such as
    the `_AIRBYTE_RAW_ID` of a warehouse that Airbyte filled earlier.
    """
    folded = name.casefold()
    return (
        folded in PLATFORM_COLUMNS or folded.startswith(RESERVED_PREFIXES) or (is_airbytes(folded) and folded != name)
    )


def is_airbytes(name: str) -> bool:
    """Return whether Airbyte added the column, not the source."""
    return name.startswith(AIRBYTE_PREFIXES)


def suffixed(name: str) -> str:
    """Return the name in the table of a column whose own name a table can't have."""
    return next(_suffixed(name))


def case_twins(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that differ only by case, None without any."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            return first, name
    return None


def _unchanged(columns: Sequence[str], table: Mapping[str, str]) -> dict[str, str]:
    """Return the names that stay as they are, by their letters without case."""
    stays: dict[str, str] = {}
    for name in sorted(columns):
        if is_table_name(name) and _is_free(name, table):
            stays.setdefault(name.casefold(), name)
    return stays


def _is_free(name: str, table: Mapping[str, str]) -> bool:
    """Return whether the table has a column of exactly this name, or none with these letters."""
    return table.get(name.casefold(), name) == name


def _suffixed(name: str) -> Iterator[str]:
    """Yield names with a suffix; only the first is used, unless another column is called like that already."""
    base = OUTSIDE.sub("_", name)
    if base[:1].isdigit() or base.casefold().startswith((*RESERVED_PREFIXES, *AIRBYTE_PREFIXES)):
        base = f"_{base}"
    base = base[: MOST_CHARACTERS - 1 - HASH_DIGITS]
    for attempt in count():
        digits = sha256(name.encode("utf-8", "surrogatepass") + b"\0" * attempt).hexdigest()
        yield f"{base}_{digits[:HASH_DIGITS]}"
