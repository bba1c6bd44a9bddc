"""Histories of a stream: random syncs with random rows, in files of any encoding, of which some are damaged."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from beam_job.steps.types import arrow_type
from tests.support.encodings import ENCODINGS, encode, extracted_at
from tests.support.oracle import UNCHANGED, File, Row, Stream, Sync, is_refused, stored_amount

GONE_AT = "2026-01-01T12:00:00Z"
NEWER = 10**9
AMOUNTS = st.sampled_from(["int64", "float64", "float64", "int32", ""])
AMOUNTS_OF_SNAPSHOTS = st.sampled_from(["float64", "float64", "int64"])  # of which halves are refused
EXTRA = st.sampled_from([False, False, True])
RARELY_ONE = st.sampled_from([0, 0, 0, 1])
BIOS = st.sampled_from([None, "a", "b", UNCHANGED, UNCHANGED])
MOSTLY = st.sampled_from([True, True, True, True, False])
DAMAGES = st.sampled_from([*[""] * 22, "cut", "short"])
DAMAGES_OFTEN = st.sampled_from([*[""] * 8, "cut", "short"])


@st.composite
def rows(draw: st.DrawFn, stream: Stream) -> Row:
    """Generate a row; occasionally without a key, or with an amount that is not an integer."""
    key = draw(stream.keys)
    most = 39 if stream.overwrites else 19  # a snapshot with such a row replaces nothing
    if key and draw(st.integers(0, most)) == most:
        key = (None, *key[1:])
    gone = stream.contract.mode == "cdc" and draw(st.booleans())
    amount = draw(st.sampled_from([None, 1.0, 2.0, 2.0, 0.5]))
    bio = draw(BIOS) if "bio" in stream.contract.columns else None
    return Row(key, draw(stream.orders), draw(st.integers(0, 1)), gone, draw(st.integers(0, NEWER - 1)), amount, bio)


@st.composite
def histories(draw: st.DrawFn, stream: Stream) -> list[Sync]:
    """Generate syncs in the order of their jobs; later ones may repeat rows of earlier ones."""
    syncs: list[Sync] = []
    earlier: list[Row] = []
    for job in range(1, draw(st.integers(1, 5)) + 1):
        new = draw(st.lists(rows(stream), max_size=8))
        new += draw(st.lists(st.sampled_from(earlier), max_size=2)) if earlier else []
        earlier += new
        cuts = sorted(draw(st.lists(st.integers(0, len(new)), max_size=2)))
        pieces = [new[a:b] for a, b in zip([0, *cuts], [*cuts, len(new)], strict=True)]
        generation = _generation(draw, stream, job, syncs[-1].generation if syncs else 0)
        epoch = draw(RARELY_ONE) if stream.overwrites or not stream.replaces else 0
        succeeded = not stream.replaces or draw(MOSTLY)
        syncs.append(Sync(job, epoch, generation, tuple(draw(files(stream, p)) for p in pieces), succeeded))
    return syncs


def _generation(draw: st.DrawFn, stream: Stream, job: int, before: int) -> int:
    """Return the generation of a job: each snapshot has its own, of a refresh there may be several syncs."""
    if stream.overwrites:
        return job
    return max(1, before + draw(st.sampled_from([0, 1]))) if stream.replaces else draw(RARELY_ONE)


@st.composite
def files(draw: st.DrawFn, stream: Stream, own: list[Row]) -> File:
    """Generate files of these rows."""
    amount = draw(AMOUNTS_OF_SNAPSHOTS if stream.overwrites else AMOUNTS)
    damage = draw(DAMAGES if stream.contract.key else DAMAGES_OFTEN) if own else ""
    return File(tuple(own), amount, draw(EXTRA), draw(ENCODINGS), damage)


def mended(stream: Stream, sync: Sync, part: int) -> File:
    """Return a file as someone rewrites it: undamaged, with a newer note in each row, and whole amounts.

    With a key, it keeps all rows; without one, those that were refused are left out.
    """
    file = sync.files[part]
    kept = [r for r in file.rows if stream.contract.key or not is_refused(stream, sync, replace(file, damage=""), r)]
    new = [replace(r, note=r.note + NEWER, amount=r.amount and float(round(r.amount + 0.1))) for r in kept]
    return replace(file, rows=tuple(new), damage="")


def bytes_of(stream: Stream, file: File, generation: int) -> bytes:
    """Return a file as Airbyte writes it, or as its damage leaves it."""
    if file.damage == "short":
        return encode(table_of(stream, replace(file, rows=file.rows[:-1]), generation), file.encoding)
    data = encode(table_of(stream, file, generation), file.encoding)
    return data[: len(data) // 2] if file.damage == "cut" else data


def table_of(stream: Stream, file: File, generation: int) -> pa.Table:
    """Return a file's rows as Airbyte writes them: a delete has only its key."""
    contract, count = stream.contract, len(file.rows)
    types = contract.order_types
    columns: dict[str, Any] = {
        "_airbyte_raw_id": pa.array(["x"] * count, pa.string()),
        "_airbyte_extracted_at": extracted_at([r.extracted for r in file.rows], file.encoding.extracted),
        "_airbyte_generation_id": pa.array([generation] * count, pa.int64()),
    }
    for index, name in enumerate(contract.key):
        columns[name] = pa.array([r.key[index] for r in file.rows], arrow_type(types[name]))
    for index, name in enumerate(contract.order):
        columns[name] = pa.array([r.order[index] for r in file.rows], arrow_type(types[name]))
    columns["note"] = pa.array([None if r.gone else r.note for r in file.rows], pa.int64())
    if file.amount:
        kind = arrow_type(file.amount) if file.amount != "int32" else pa.int32()
        columns["amount"] = pa.array([stored_amount(r, file) for r in file.rows], pa.float64()).cast(kind)
    if "bio" in contract.columns:
        columns["bio"] = pa.array([None if r.gone else r.bio for r in file.rows], pa.string())
    if file.extra:
        columns["extra"] = columns["note"]
    if contract.mode == "cdc":
        columns["_ab_cdc_deleted_at"] = pa.array([GONE_AT if r.gone else None for r in file.rows], pa.string())
    return pa.table(columns)
