"""Starts `prefect server start` with fixes for SQLite: `python -m local.stack.prefect_server --port 4200`.

Prefect begins most transactions as DEFERRED. One that reads and then writes fails with "database is locked" when
another wrote in between, and the event it was about is lost after four attempts: here they are begun as IMMEDIATE, so
that they wait for each other instead. Should one fail nevertheless, its connection is closed: with the failed cursor
unfinished it would go back to the pool, and when Python frees that cursor while another task waits for the lock on the
same connection, the server's one loop waits with it, for up to a minute. Prefect on PostgreSQL needs neither.
"""

import sqlite3
import sys
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def begin_to_write(
    connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    """Take the lock at the beginning, where waiting for it is possible."""
    return ("BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement), parameters


@event.listens_for(Engine, "handle_error")
def give_up_connection(context: ExceptionContext) -> None:
    """Close a connection that met a lock, and only that one."""
    if isinstance(context.original_exception, sqlite3.OperationalError) and "locked" in str(context.original_exception):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def main() -> None:
    """Start the server with the command line's arguments."""
    from prefect.cli import app

    sys.argv = ["prefect", "server", "start", *sys.argv[1:]]
    app()


if __name__ == "__main__":
    main()
