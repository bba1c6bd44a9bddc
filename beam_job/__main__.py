"""Merges or redrives one stream, without an orchestrator: `python -m beam_job merge --source S --stream T`."""

import argparse
import json
import logging
import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from beam_job.announce import announce, told_again
from beam_job.batches import Limits, pending
from beam_job.erase import erase, request
from beam_job.find import files_with
from beam_job.lease import LEASE_S, merge_lease
from beam_job.merge import merge_stream
from beam_job.redrive import MAX_ATTEMPTS, redrive
from millrace.contracts.erasure import asked
from millrace.contracts.source import find_source, load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance
from millrace.domain.errors import MillraceError
from millrace.events.bus import EventBus
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.observability.lines import CloudLines
from millrace.warehouse.port import Warehouse, open_warehouse

EXAMPLES = """examples:
  python -m beam_job pending --source airport_ops --stream flights     what waits to be merged
  python -m beam_job merge   --source airport_ops --stream flights     merge it
  python -m beam_job redrive --source airport_ops --stream flights     let what is quarantined be merged once more
  python -m beam_job erase --source airport_ops --stream planes --key '{"tailnum": "N1"}' --reason "request 7"
  python -m beam_job find --source airport_ops --stream planes --key '{"tailnum": "N1"}'    files that hold the key
  python -m beam_job migrate --source airport_ops --stream planes      give its table the types of its contract
Addresses are taken from the variables in [brackets] when the option is not given."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m beam_job",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("command", choices=["merge", "pending", "redrive", "erase", "find", "migrate"])
    made.add_argument("--source", required=True, help="name of a file in --sources, without .yaml")
    made.add_argument("--stream", required=True, help="one of its streams")
    made.add_argument("--sources", type=Path, default=Path("sources"), help="directory of contracts (sources)")
    for option, variable, what in (
        ("--lake-url", "MILLRACE_LAKE__URL", "gs://<bucket>"),
        ("--lake-endpoint", "MILLRACE_LAKE__ENDPOINT", "address of a Cloud Storage server other than Google's"),
        ("--warehouse-url", "MILLRACE_WAREHOUSE__URL", "duckdb:///<file> or bigquery://<project>/<location>"),
        ("--warehouse-endpoint", "MILLRACE_WAREHOUSE__ENDPOINT", "address of a BigQuery other than Google's"),
        ("--marts-url", "MILLRACE_WAREHOUSE__MARTS_URL", "where the published marts are"),
        ("--project", "MILLRACE_EVENTS__PROJECT", "project of the topics; without it nothing is announced"),
        ("--events-endpoint", "MILLRACE_EVENTS__ENDPOINT", "address of a Pub/Sub server other than Google's"),
    ):
        made.add_argument(option, default=os.environ.get(variable, ""), help=f"{what} [{variable}]")
    made.add_argument(
        "--max-bytes-billed",
        type=int,
        default=os.environ.get("MILLRACE_WAREHOUSE__MAX_BYTES_BILLED", "0"),
        help="most bytes a commit reads; 0: any [MILLRACE_WAREHOUSE__MAX_BYTES_BILLED]",
    )
    made.add_argument("--max-bytes", type=int, default=Limits.max_bytes, help="cap of one batch in bytes")
    made.add_argument("--max-files", type=int, default=Limits.max_files, help="cap of one batch in files")
    made.add_argument(
        "--plain-max-bytes",
        type=int,
        default=Limits.plain_max_bytes,
        help="up to so many bytes a batch is merged without Beam; 0: always by Beam",
    )
    made.add_argument(
        "--logs",
        choices=["text", "json"],
        default=os.environ.get("MILLRACE_LOGS", "text"),
        help="json: a line as Cloud Logging reads it for each fact [MILLRACE_LOGS]",
    )
    made.add_argument(
        "--audit", action="store_true", help="look at all manifests, also at those that came more than 7 days late"
    )
    made.add_argument(
        "--wait-s",
        type=float,
        default=2 * LEASE_S,
        metavar="SECONDS",
        help="how long to wait while another process merges the stream",
    )
    made.add_argument("--object", action="append", default=[], help="redrive this object only; may be repeated")
    made.add_argument(
        "--key",
        action="append",
        default=[],
        type=json.loads,
        help="erase, or find, the rows of this key, as JSON; may be repeated",
    )
    made.add_argument("--reason", default="", help="why keys are erased; kept in the ledger")
    made.add_argument("--max-attempts", type=int, default=MAX_ATTEMPTS, help="redrive no object more often than this")
    return made


def run(options: argparse.Namespace) -> None:
    """Do what was asked; raises MillraceError."""
    contract = find_source(load_sources(options.sources), options.source).stream(options.stream)
    lake = open_lake(options.lake_url, options.lake_endpoint)
    warehouse = open_warehouse(
        options.warehouse_url,
        options.marts_url,
        endpoint=options.warehouse_endpoint,
        max_bytes_billed=options.max_bytes_billed,
    )
    if options.command == "pending":
        waiting = pending(lake, warehouse, contract, audit=options.audit)
        print("\n".join(waiting) or f"{contract.id}: nothing is pending")
        return
    if options.command == "migrate":
        changed = warehouse.migrate(contract)
        print(
            "\n".join(f"{contract.id}: {n} is {k} now" for n, k in changed.items()) or f"{contract.id}: as it should be"
        )
        return
    if options.command == "redrive":
        done = redrive(
            lake,
            warehouse,
            contract,
            objects=options.object,
            max_attempts=options.max_attempts,
            run_id=f"cli-{uuid.uuid4()}",
            at=datetime.now(UTC),
        )
        print(f"{contract.id}: {done.admitted} objects let in again, {done.mended} mended; the next merge takes them")
        for name in done.exhausted:
            print(f"{contract.id}: {name} was tried {options.max_attempts} times; mend it, or raise --max-attempts")
        return
    bus = EventBus(options.project, options.events_endpoint) if options.project else None
    if options.command == "find":
        wanted = asked(contract, options.key, options.reason or "to look", datetime.now(UTC))
        print("\n".join(files_with(lake, contract, set(wanted.keys))) or f"{contract.id}: no file holds it")
        return
    if options.command == "erase":
        now = datetime.now(UTC)
        wanted = request(lake, contract, options.key, options.reason, now)
        erase(lake, warehouse, contract, now)
        (fact,) = (entry for entry in warehouse.ledger(kinds=("erased",)) if entry.batch_id == wanted.id)
        if bus:
            announce(bus, warehouse, told_again(fact), run_id=f"cli-{uuid.uuid4()}", at=now)
        print(f"{contract.id}: {fact.rows_in} keys are erased for good; {fact.merged} of them had a row")
        return
    merge(options, contract, lake, warehouse, bus)


def merge(
    options: argparse.Namespace, contract: StreamContract, lake: Lake, warehouse: Warehouse, bus: EventBus | None
) -> None:
    """Merge all that is pending, and what comes meanwhile: a flow run that finds this at work hands over to it."""
    limits = Limits(options.max_bytes, options.max_files, options.plain_max_bytes, options.max_bytes)
    run_id = f"cli-{uuid.uuid4()}"
    holder = f"the command {run_id} (process {os.getpid()})"
    merged: list[Balance] = []
    while pending(lake, warehouse, contract, audit=options.audit):
        with merge_lease(lake, contract.source, contract.stream, holder, wait_s=options.wait_s, on_wait=_say):
            balances = merge_stream(
                lake,
                warehouse,
                bus,
                contract,
                limits=limits,
                run_id=run_id,
                clock=lambda: datetime.now(UTC),
                audit=options.audit,
            )
        for balance in balances:
            print(
                f"{contract.id}: {balance.rows_in:,} rows in = {balance.merged:,} merged"
                f" + {balance.superseded:,} superseded + {balance.stale:,} stale + {balance.quarantined:,} quarantined"
            )
        merged += balances
        if not balances:
            break
    if not merged:
        print(f"{contract.id}: nothing was pending")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def start_logs(kind: str) -> None:
    """Write our facts to stderr as JSON, or for people what they should know of."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if kind == "json":
        logging.getLogger().handlers[0].setFormatter(CloudLines())
        for name in ("beam_job", "millrace"):
            logging.getLogger(name).setLevel(logging.INFO)


def main() -> int:
    """Entry point; 0 when all went well, 1 on a named error."""
    options = parser().parse_args()
    start_logs(options.logs)
    try:
        run(options)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
