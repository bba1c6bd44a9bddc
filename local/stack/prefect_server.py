"""`prefect server start`, which does not hang when SQLite was busy: `python -m local.stack.prefect_server --port 4200`.

Where two transactions wrote at once, one fails with "database is locked", and the server goes on. But its connection
went back to the pool with the failed cursor unfinished; when Python frees that cursor while another task waits for
the lock on the same connection, the server's one loop waits with it, for up to a minute, and so does whoever holds
the lock. Giving up the connection with the error leaves nothing to wait for. Prefect on PostgreSQL has no such errors.
"""

import sqlite3
import sys

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext


@event.listens_for(Engine, "handle_error")
def give_up_connection(context: ExceptionContext) -> None:
    """Close a connection that met a lock, and only that one."""
    if isinstance(context.original_exception, sqlite3.OperationalError) and "locked" in str(context.original_exception):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def main() -> None:
    """Start the server with the arguments given."""
    from prefect.cli import app

    sys.argv = ["prefect", "server", "start", *sys.argv[1:]]
    app()


if __name__ == "__main__":
    main()
