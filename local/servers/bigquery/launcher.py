"""Serves `local-bigquery` on 127.0.0.1, with fixes where it differs from BigQuery in features that Millrace needs.

It runs in the environment of `requirements.txt` beside it, by file name; nothing here imports Millrace.
"""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extensions
from local_bigquery import errors
from local_bigquery.catalog import ddl, names, tables
from local_bigquery.engine import database, types
from local_bigquery.errors import STATUSES, BigQueryError
from local_bigquery.grpc import server
from local_bigquery.jobs import load, merge, query, runner
from local_bigquery.models import JobStatistics2
from local_bigquery.settings import settings
from local_bigquery.sql import rules, script
from local_bigquery.sql.translate import translate
from sqlglot import exp

AUTHORIZATIONS: list[Callable[[], str]] = []  # one when callers are checked
EXTENSIONS = ("ducklake", "icu")
TRANSACTION = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK)\b", re.I)


def submit_one_by_one() -> None:
    """Reject one of two concurrent jobs with the same id."""
    original, lock = runner.submit, threading.Lock()

    def submit(*arguments: Any, **named: Any) -> Any:
        with lock:
            return original(*arguments, **named)

    runner.submit = submit


def try_merges_dry() -> None:
    """A dry run of a MERGE names its tables; the emulator's engine can't explain one with several clauses."""
    original = query._run

    def run(cursor: Any, tree: Any, context: Any, destination: Any, config: Any, dry_run: bool, isolated: bool) -> Any:
        if dry_run and isinstance(tree, exp.Merge):
            translate(tree, context)
            return JobStatistics2(statementType="MERGE")
        return original(cursor, tree, context, destination, config, dry_run, isolated)

    query._run = run


def name_conflicts() -> None:
    """A transaction that lost to another says so in BigQuery's words."""
    message = "Transaction is aborted due to concurrent update against table; {name}"
    errors.DUCKDB_ERRORS.insert(0, (re.compile(r"(?P<name>Failed to commit DuckLake)"), "invalidQuery", message))


def name_new_tables() -> None:
    """Name the created table as the destination of a CREATE TABLE AS job; dbt and clients read its rows there."""
    original = query.execute

    def execute(*arguments: Any, **named: Any) -> Any:
        statistics, children, destination = original(*arguments, **named)
        if destination is None and statistics.statementType == "CREATE_TABLE_AS_SELECT":
            destination = statistics.ddlTargetTable
        return statistics, children, destination

    query.execute = execute


class Nested:
    """A cursor within a transaction; it raises at a BEGIN before the current transaction has ended."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str, *arguments: Any) -> Any:
        """Run a statement."""
        if sql == "BEGIN":
            raise duckdb.TransactionException("a transaction is open")
        return self._cursor.execute(sql, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def merge_within_transactions() -> None:
    """A MERGE may be part of a script's transaction; the emulator tries to begin one, which ends DuckDB 1.5's."""
    run_merge, run_sql = merge.run, script.Interpreter.sql

    def sql(self: Any, statement: Any) -> None:
        run_sql(self, statement)
        if match := TRANSACTION.match(statement.text):
            self.context.system["transaction"] = match[1].upper() == "BEGIN"

    def run(cursor: Any, tree: Any, context: Any) -> Any:
        return run_merge(Nested(cursor) if context.system.get("transaction") else cursor, tree, context)

    script.Interpreter.sql, merge.run = sql, run


def remember_digits() -> None:
    """A column that was made a longer decimal is described as one."""
    original = ddl.apply

    def apply(tree: Any, project: str, dataset: str, *arguments: Any) -> None:
        original(tree, project, dataset, *arguments)
        for action in tree.find_all(exp.AlterColumn):
            digits = [part.name for part in action.args["dtype"].expressions] if action.args.get("dtype") else []
            if len(digits) == 2:
                reference = names.reference(tree.find(exp.Table), project, dataset)
                table = tables.load(*reference)
                fields = [
                    field.replace(precision=digits[0], scale=digits[1]) if field.name == action.name else field
                    for field in tables.fields(table)
                ]
                tables.record(*reference, table.replace(schema={"fields": fields}))

    ddl.apply = apply


def read_lake(endpoint: str, headers: Callable[[], dict[str, str]]) -> None:
    """Load jobs read `gs://` from a Cloud Storage server at `endpoint`, as their caller."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-bigquery-"))

    def paths(_: Any, uri: str) -> list[str]:
        bucket, _slash, name = uri.removeprefix("gs://").partition("/")
        address = f"{endpoint}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media"
        request = urllib.request.Request(address, headers=headers())  # noqa: S310  as below
        target = folder / urllib.parse.quote(uri, safe="")
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310  the endpoint is this machine's
                target.write_bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise BigQueryError(
                    "accessDenied", f"Access Denied: {json.loads(error.read())['error']['message']}"
                ) from error
            raise BigQueryError("notFound", f"Not found: URI {uri}") from error
        return [str(target)]

    load.paths = paths


def load_bytes() -> None:
    """Load bytes of Parquet files as bytes; the emulator takes those of a declared column for base64 text."""
    original = load._projection

    def projection(config: Any, fields: Any, columns: Any) -> Any:
        if config.sourceFormat == "PARQUET" and fields:
            named = [(database.quote(field.name), types.duckdb_type(field)) for field in fields]
            return ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in named), "false"
        return original(config, fields, columns)

    load._projection = projection


def read_json_modes() -> None:
    """Parse JSON with a mode in a MERGE; the emulator passes the argument's name on, which its engine does not take."""

    def mode(node: Any, _: Any) -> Any:
        if isinstance(node, exp.Anonymous) and node.name.lower() == "parse_json":
            node.set("expressions", [a.expression if isinstance(a, exp.Kwarg) else a for a in node.expressions])
        return node

    rules.NODE_RULES.append(mode)


def count_bytes() -> None:
    """Report the bytes of the tables that a statement reads in dry runs, and enforce `maximumBytesBilled`."""
    STATUSES["bytesBilledLimitExceeded"] = (400, "INVALID_ARGUMENT")
    original = query.execute

    def execute(cur: Any, project: str, job: Any, config: Any, dry_run: bool = False, **named: Any) -> Any:
        if not dry_run and config.maximumBytesBilled:
            dry, _, _ = original(cur, project, None, config, dry_run=True)
            check_bytes_billed(int(config.maximumBytesBilled), read_bytes(dry))
        statistics, *rest = original(cur, project, job, config, dry_run=dry_run, **named)
        return statistics.replace(totalBytesProcessed=str(read_bytes(statistics))), *rest

    query.execute = execute


def check_bytes_billed(most: int, required: int) -> None:
    """Fail as BigQuery does."""
    if required > most:
        message = f"Query exceeded limit for bytes billed: {most}. {required} or higher required."
        raise BigQueryError("bytesBilledLimitExceeded", message)


def read_bytes(statistics: Any) -> int:
    """Return the bytes of whole tables: the emulator does not count columns or partitions."""
    size = 0
    for reference in statistics.referencedTables or []:
        size += int(tables.load(*tables.reference(reference)).numBytes or 0)
    return size


def enforcing(rights: Path) -> Callable[[Any], Any]:
    """Return what checks callers against a file of rights, in front of the application."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # it runs by file name
    from local.servers.bigquery import rights as checks

    AUTHORIZATIONS.append(checks.authorization.get)
    wrap: Callable[[Any], Any] = checks.enforce(rights)
    return wrap


def caller_headers() -> dict[str, str]:
    """Return the headers with the identity of the caller of this job, if callers have any."""
    value = AUTHORIZATIONS[0]() if AUTHORIZATIONS else ""
    return {"authorization": value} if value else {}


def end_with_parent(interval_s: float = 1.0) -> None:
    """End this process when the one that started it has ended; an interrupted test run would leave it behind."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval_s)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve until ended, or until the parent process has ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--lake", default="", help="address of a Cloud Storage server")
    parser.add_argument("--rights", type=Path, help="file of rights that callers are checked against")
    options = parser.parse_args()
    end_with_parent()
    for name in EXTENSIONS:
        duckdb_extensions.import_extension(name)
    settings.data_dir, settings.default_project_id = options.state, "local"
    database.FUNCTIONS = [path for path in database.FUNCTIONS if path.stem != "geography"]  # needs another extension
    submit_one_by_one()
    try_merges_dry()
    name_conflicts()
    name_new_tables()
    merge_within_transactions()
    remember_digits()
    count_bytes()
    load_bytes()
    read_json_modes()
    if options.lake:
        read_lake(options.lake, caller_headers)
    import uvicorn
    from local_bigquery import app

    if options.rights:
        app = enforcing(options.rights)(app)
    storage, _ = server.start("127.0.0.1", options.grpc_port)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")
    storage.stop(None)


if __name__ == "__main__":
    main()
