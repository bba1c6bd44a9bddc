"""Prefect's SQLite under load: transactions wait for each other, and one that met a lock takes its connection along."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from local.stack import prefect_server


def engine(path: Path, begin: str = "BEGIN") -> AsyncEngine:
    """As Prefect opens it: write-ahead log, transactions begun by hand, one connection to be reused."""
    made = create_async_engine(
        f"sqlite+aiosqlite:///{path}", pool_size=1, max_overflow=0, connect_args={"timeout": 0.2}
    )

    @event.listens_for(made.sync_engine, "connect")
    def prepare(connection, record) -> None:  # type: ignore[no-untyped-def]
        connection.isolation_level = None
        connection.cursor().execute("PRAGMA journal_mode = WAL")

    event.listen(made.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return made


async def meet_a_lock(path: Path) -> bool:
    """Whether the pool gives the same connection again after a transaction failed on a lock."""
    one, other = engine(path), engine(path)
    try:
        async with other.begin() as connection:
            await connection.execute(text("CREATE TABLE t (n)"))
        before = await raw(one)
        with pytest.raises(OperationalError, match="locked"):
            await write_after_reading(one, other)
        return await raw(one) is before
    finally:
        await one.dispose()
        await other.dispose()


async def write_after_reading(one: AsyncEngine, other: AsyncEngine) -> None:
    """What SQLite refuses: to write on top of a reading that another's commit has overtaken."""
    async with one.begin() as reading:
        await reading.execute(text("SELECT * FROM t"))
        async with other.begin() as writing:
            await writing.execute(text("INSERT INTO t VALUES (1)"))
        await reading.execute(text("INSERT INTO t VALUES (2)"))


async def raw(of: AsyncEngine) -> object:
    async with of.connect() as connection:
        return (await connection.get_raw_connection()).driver_connection


def test_a_connection_that_met_a_lock_is_not_used_again(tmp_path: Path) -> None:
    assert event.contains(prefect_server.Engine, "handle_error", prefect_server.give_up_connection)
    assert asyncio.run(meet_a_lock(tmp_path / "with.db")) is False


def test_without_that_it_would_be(tmp_path: Path) -> None:
    event.remove(prefect_server.Engine, "handle_error", prefect_server.give_up_connection)
    try:
        assert asyncio.run(meet_a_lock(tmp_path / "without.db")) is True
    finally:
        event.listen(prefect_server.Engine, "handle_error", prefect_server.give_up_connection)


async def second_writer_waits(path: Path) -> bool:
    """Whether a transaction that Prefect begins as DEFERRED keeps others from writing until it has ended."""
    one, other = engine(path, "BEGIN DEFERRED"), engine(path, "BEGIN DEFERRED")
    try:
        async with one.begin() as first:
            await first.execute(text("CREATE TABLE t (n)"))
        async with one.begin() as first:
            await first.execute(text("SELECT * FROM t"))
            try:
                await write(other)
            except OperationalError:
                await first.execute(text("INSERT INTO t VALUES (1)"))
                return True
        return False
    finally:
        await one.dispose()
        await other.dispose()


async def write(to: AsyncEngine) -> None:
    async with to.begin() as connection:
        await connection.execute(text("INSERT INTO t VALUES (2)"))


def test_what_prefect_begins_has_the_lock_from_its_beginning(tmp_path: Path) -> None:
    assert asyncio.run(second_writer_waits(tmp_path / "with.db")) is True


def test_without_that_another_overtakes_it(tmp_path: Path) -> None:
    listener = (prefect_server.Engine, "before_cursor_execute", prefect_server.begin_to_write)
    event.remove(*listener)
    try:
        assert asyncio.run(second_writer_waits(tmp_path / "without.db")) is False
    finally:
        event.listen(*listener, retval=True)
