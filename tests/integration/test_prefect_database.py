"""Prefect's database: SQLite under load, where a connection that met a lock is discarded; settings of the server."""

import asyncio
import os
from pathlib import Path
from unittest.mock import patch

import pytest
from prefect.settings import Settings
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from local.stack import prefect_server
from tests.support.prefect_on_postgres import manifest_settings


def engine(path: Path, begin: str = "BEGIN") -> AsyncEngine:
    """Open the database as Prefect does: write-ahead log, explicit transactions, one pooled connection."""
    async_engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", pool_size=1, max_overflow=0, connect_args={"timeout": 0.2}
    )

    @event.listens_for(async_engine.sync_engine, "connect")
    def prepare(connection, record) -> None:  # type: ignore[no-untyped-def]
        connection.isolation_level = None
        connection.cursor().execute("PRAGMA journal_mode = WAL")

    event.listen(async_engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return async_engine


async def meet_a_lock(path: Path) -> bool:
    """Return whether the pool reuses a connection after its transaction failed on a lock."""
    reader, writer = engine(path), engine(path)
    try:
        async with writer.begin() as connection:
            await connection.execute(text("CREATE TABLE t (n)"))
        before = await raw(reader)
        with pytest.raises(OperationalError, match="locked"):
            await write_after_reading(reader, writer)
        return await raw(reader) is before
    finally:
        await reader.dispose()
        await writer.dispose()


async def write_after_reading(reader: AsyncEngine, writer: AsyncEngine) -> None:
    """Write in a transaction whose snapshot another commit has made stale, which SQLite rejects."""
    async with reader.begin() as reading:
        await reading.execute(text("SELECT * FROM t"))
        async with writer.begin() as writing:
            await writing.execute(text("INSERT INTO t VALUES (1)"))
        await reading.execute(text("INSERT INTO t VALUES (2)"))


async def raw(of: AsyncEngine) -> object:
    async with of.connect() as connection:
        return (await connection.get_raw_connection()).driver_connection


def test_connection_that_met_a_lock_is_discarded(tmp_path: Path) -> None:
    assert event.contains(prefect_server.Engine, "handle_error", prefect_server.give_up_connection)
    assert asyncio.run(meet_a_lock(tmp_path / "with.db")) is False


def test_without_the_listener_it_is_reused(tmp_path: Path) -> None:
    event.remove(prefect_server.Engine, "handle_error", prefect_server.give_up_connection)
    try:
        assert asyncio.run(meet_a_lock(tmp_path / "without.db")) is True
    finally:
        event.listen(prefect_server.Engine, "handle_error", prefect_server.give_up_connection)


async def second_writer_waits(path: Path) -> bool:
    """Return whether a transaction that Prefect begins as DEFERRED blocks other writers until its end."""
    first_engine, second_engine = engine(path, "BEGIN DEFERRED"), engine(path, "BEGIN DEFERRED")
    try:
        async with first_engine.begin() as first:
            await first.execute(text("CREATE TABLE t (n)"))
        async with first_engine.begin() as first:
            await first.execute(text("SELECT * FROM t"))
            try:
                await write(second_engine)
            except OperationalError:
                await first.execute(text("INSERT INTO t VALUES (1)"))
                return True
        return False
    finally:
        await first_engine.dispose()
        await second_engine.dispose()


async def write(to: AsyncEngine) -> None:
    async with to.begin() as connection:
        await connection.execute(text("INSERT INTO t VALUES (2)"))


def test_transaction_locks_from_its_beginning(tmp_path: Path) -> None:
    assert asyncio.run(second_writer_waits(tmp_path / "with.db")) is True


def test_without_the_listener_another_can_write(tmp_path: Path) -> None:
    listener = (prefect_server.Engine, "before_cursor_execute", prefect_server.begin_to_write)
    event.remove(*listener)
    try:
        assert asyncio.run(second_writer_waits(tmp_path / "without.db")) is False
    finally:
        event.listen(*listener, retval=True)


def test_prefect_knows_the_settings_of_its_manifest() -> None:
    with patch.dict(os.environ, manifest_settings()):
        settings = Settings().to_environment_variables(exclude_unset=True)
    persister = "PREFECT_SERVER_SERVICES_EVENT_PERSISTER"
    assert settings[f"{persister}_FLUSH_INTERVAL"] == "1.0"
    assert manifest_settings().keys() <= settings.keys()
