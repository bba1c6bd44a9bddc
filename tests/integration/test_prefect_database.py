"""Prefect's SQLite under load: a transaction that met a lock takes its connection with it, so that nothing hangs."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from local.stack import prefect_server


def engine(path: Path) -> AsyncEngine:
    """As Prefect opens it: write-ahead log, transactions begun by hand, one connection to be reused."""
    made = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=1, max_overflow=0)

    @event.listens_for(made.sync_engine, "connect")
    def prepare(connection, record) -> None:  # type: ignore[no-untyped-def]
        connection.isolation_level = None
        connection.cursor().execute("PRAGMA journal_mode = WAL")

    event.listen(made.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN DEFERRED"))
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
