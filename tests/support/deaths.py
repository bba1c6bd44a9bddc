"""Processes that die while they merge: at any operation on the lake or SQL statement, before or after its effect."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import duckdb

from millrace.warehouse.port import Warehouse
from tests.support.in_process import MemoryWarehouse
from tests.support.mortal import Fate, Killed

MOST_CALLS = 150  # a merge of one batch makes about that many


class Death(Fate):
    """A fate after which nothing of the process has an effect, such as the cleanup of its exceptions."""

    dead = False

    def call(self, operation: Callable[[], Any]) -> Any:
        if self.dead:
            raise Killed
        try:
            return super().call(operation)
        except Killed:
            self.dead = True
            raise


class MortalConnection:
    """A connection whose every statement may be the last; an open transaction ends with its process."""

    def __init__(self, db: duckdb.DuckDBPyConnection, fate: Fate) -> None:
        self._db, self._fate = db, fate

    def execute(self, *arguments: Any) -> duckdb.DuckDBPyConnection:
        db: duckdb.DuckDBPyConnection = self._fate.call(lambda: self._db.execute(*arguments))
        return db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


class MortalWarehouse(MemoryWarehouse):
    """A connection of a process that dies to a warehouse in memory."""

    def __init__(self, warehouse: Warehouse, fate: Fate) -> None:
        assert isinstance(warehouse, MemoryWarehouse)
        super().__init__(warehouse)
        self._fate = fate

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with super().connection() as db:
            mortal: Any = MortalConnection(db, self._fate)
            yield mortal


def die_at(end: object, point: str) -> None:
    if end == point:
        raise Killed(point)


@contextmanager
def dying(where: Any, function: str, when: bool) -> Iterator[None]:
    """Die within a function."""
    if not when:
        yield
        return
    patched = mock.patch(f"{where}.{function}") if isinstance(where, str) else mock.patch.object(where, function)
    with patched as fatal:
        fatal.side_effect = Killed(function)
        yield
