"""Columns of random values, made whole by numpy: 12 of a table and Airbyte's four, about 245 bytes a row in memory."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from local.servers.airbyte.columns import META

Ints = npt.NDArray[np.int64]
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
COUNTRIES = pa.array(["AT", "BE", "CH", "DE", "DK", "ES", "FI", "FR", "GB", "IE", "IT", "NL", "NO", "PL", "PT", "SE"])
STATUSES = pa.array(["new", "paid", "packed", "shipped", "returned", "cancelled"])
EXTRACTED_MS = 1_780_000_000_000
FIRST_DAY = 18_262  # 2020-01-01, in days since 1970
UPDATED_US = 1_577_836_800_000_000  # 2020-01-01, in microseconds
YEAR_US = 31_536_000_000_000


def make_table(rng: np.random.Generator, ids: Ints, days: Ints, positions: Ints, sync_id: int) -> pa.Table:
    """Rows as Airbyte's destination 1.x lays them out; all but key, day and position is random."""
    count = len(ids)
    columns = {
        "_airbyte_raw_id": uuids(rng, count),
        "_airbyte_extracted_at": pa.array(np.full(count, EXTRACTED_MS + sync_id * 60_000)),
        "_airbyte_generation_id": pa.array(np.zeros(count, np.int64)),
        "_airbyte_meta": _meta(count, sync_id),
        "id": pa.array(ids),
        "day": pa.array((days + FIRST_DAY).astype(np.int32)).cast(pa.date32()),
        "position": pa.array(positions),
        "updated_at": pa.array(UPDATED_US + rng.integers(0, 5 * YEAR_US, count)).cast(pa.timestamp("us", "UTC")),
        "amount": pa.array(rng.integers(0, 10_000_000, count) / 100, mask=rng.random(count) < 0.02),
        "quantity": pa.array(rng.integers(1, 1000, count)),
        "active": pa.array(rng.random(count) < 0.8),
        "country": COUNTRIES.take(pa.array(rng.integers(0, len(COUNTRIES), count))),
        "status": STATUSES.take(pa.array(rng.integers(0, len(STATUSES), count))),
        "customer": texts(rng, count, 12, 12),
        "email": texts(rng, count, 16, 30),
        "note": texts(rng, count, 20, 124, nulls=0.05),
    }
    return pa.table(columns)


def uuids(rng: np.random.Generator, count: int) -> pa.Array:
    """Random version 4 UUIDs as text."""
    letters = HEX[rng.integers(0, 16, (count, 36), dtype=np.uint8)]
    letters[:, [8, 13, 18, 23]] = ord("-")
    letters[:, 14] = ord("4")
    return _strings(np.full(count, 36), letters.reshape(-1))


def texts(rng: np.random.Generator, count: int, shortest: int, longest: int, nulls: float = 0.0) -> pa.Array:
    """Random texts, of which a share is NULL."""
    lengths = rng.integers(shortest, longest + 1, count)
    missing = rng.random(count) < nulls
    lengths[missing] = 0
    letters = LETTERS[rng.integers(0, len(LETTERS), int(lengths.sum()), dtype=np.uint8)]
    return _strings(lengths, letters, missing if nulls else None)


def _strings(lengths: Ints, letters: npt.NDArray[np.uint8], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    validity = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes())
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(letters), validity)


def _meta(count: int, sync_id: int) -> pa.Array:
    return pa.array([{"sync_id": sync_id, "changes": []}], META).take(pa.array(np.zeros(count, np.int64)))
