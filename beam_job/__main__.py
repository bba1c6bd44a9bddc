"""Arguments in, a stream merged, redriven, erased or migrated out: `python -m beam_job merge --source S --stream T`."""

import logging
import os
import sys
import uuid
from argparse import Namespace
from datetime import UTC, datetime

from beam_job import arguments
from beam_job.announce import announce, message_from_ledger
from beam_job.arguments import Command, command_parser
from beam_job.batches import Limits, pending
from beam_job.erase import erase, fact, request
from beam_job.find import files_with
from beam_job.lease import merge_lease
from beam_job.merge import merge_stream
from beam_job.raise_epoch import raise_epoch
from beam_job.redrive import redrive
from millrace.contracts.erasure import make_erasure
from millrace.contracts.source import find_source, load_sources
from millrace.contracts.stream import StreamContract
from millrace.domain.batch import Balance
from millrace.domain.errors import MillraceError
from millrace.events.bus import EventBus
from millrace.lake.open import open_lake
from millrace.lake.store import Lake
from millrace.observability.lines import CloudLines
from millrace.settings.tree import WarehouseSettings
from millrace.warehouse.engines import open_warehouse
from millrace.warehouse.port import Warehouse


def show_pending(options: Namespace, contract: StreamContract) -> None:
    """Print the manifests and erasures that the next merge takes."""
    paths = pending(_lake(options), _warehouse(options), contract, full_scan=options.full_scan)
    print("\n".join(paths) or f"{contract.id}: nothing is pending")


def merge(options: Namespace, contract: StreamContract) -> None:
    """Merge all pending manifests and those that land meanwhile, as a flow run skips a stream that is being merged."""
    lake, warehouse, bus = _lake(options), _warehouse(options), _bus(options)
    limits = Limits(options.max_bytes, options.max_files, options.plain_max_bytes, options.max_bytes)
    run_id = _run_id()
    holder = f"the command {run_id} (process {os.getpid()})"
    merged: list[Balance] = []
    while pending(lake, warehouse, contract, full_scan=options.full_scan):
        with merge_lease(lake, contract.source, contract.stream, holder, wait_s=options.wait_s, on_wait=_warn) as lease:
            balances = merge_stream(
                lake,
                warehouse,
                bus,
                contract,
                limits=limits,
                run_id=run_id,
                clock=lambda: datetime.now(UTC),
                full_scan=options.full_scan,
                is_held=lease.is_held,
            )
        for balance in balances:
            print(f"{contract.id}: {_describe(balance)}")
        merged += balances
        if not balances:
            break
    if not merged:
        print(f"{contract.id}: nothing was pending")


def redrive_quarantine(options: Namespace, contract: StreamContract) -> None:
    """Make quarantined objects pending again."""
    result = redrive(
        _lake(options),
        _warehouse(options),
        contract,
        objects=options.object,
        max_attempts=options.max_attempts,
        run_id=_run_id(),
        at=datetime.now(UTC),
    )
    print(f"{contract.id}: {result.admitted} quarantined and {result.repaired} repaired objects are pending again")
    for name in result.exhausted:
        print(f"{contract.id}: {name} failed {options.max_attempts} times; repair it, or raise --max-attempts")


def raise_epochs(options: Namespace, contract: StreamContract) -> None:
    """Let the rows of a job and of all after it outrank those before, for a stream that started over."""
    lake, run_id = _lake(options), _run_id()
    holder = f"the command {run_id} (process {os.getpid()})"
    with merge_lease(lake, contract.source, contract.stream, holder, wait_s=options.wait_s, on_wait=_warn):
        result = raise_epoch(
            lake,
            _warehouse(options),
            contract,
            from_job=options.from_job,
            connection=options.connection,
            run_id=run_id,
            at=datetime.now(UTC),
        )
    if result.gone:
        print(f"{contract.id}: {result.gone} objects are gone from the lake; their rows keep their epoch")
    if not result.syncs and not result.admitted:
        print(
            f"{contract.id}: nothing was to do: all jobs before {options.from_job} are below its epoch {result.epoch}"
        )
        return
    print(
        f"{contract.id}: {result.syncs} syncs from job {options.from_job} on have a higher epoch now ({result.epoch});"
        f" {result.admitted} merged objects are pending again"
    )
    print(f"next: millrace merge {contract.id}")


def erase_keys(options: Namespace, contract: StreamContract) -> None:
    """Erase keys permanently and announce it."""
    lake, warehouse, bus = _lake(options), _warehouse(options), _bus(options)
    now = datetime.now(UTC)
    erasure = request(lake, contract, options.key, options.reason, now)
    erase(lake, warehouse, contract, now)
    entry = fact(warehouse, erasure)
    if bus:
        announce(bus, warehouse, message_from_ledger(entry), run_id=_run_id(), at=now)
    print(f"{contract.id}: {entry.rows_in} keys are erased permanently; {entry.merged} of them had a row")


def find_keys(options: Namespace, contract: StreamContract) -> None:
    """Print the files of the lake that hold keys."""
    erasure = make_erasure(contract, options.key, "find", datetime.now(UTC))
    print("\n".join(files_with(_lake(options), contract, set(erasure.keys))) or f"{contract.id}: no file has the key")


def migrate(options: Namespace, contract: StreamContract) -> None:
    """Change the table's columns to the types of the contract."""
    changed = _warehouse(options).migrate(contract)
    lines = [f"{contract.id}: column {name} is now {kind}" for name, kind in changed.items()]
    print("\n".join(lines) or f"{contract.id}: the table has the types of the contract already")


COMMANDS = {
    "pending": Command(
        show_pending,
        "list what the next merge takes",
        (arguments.lake_options, arguments.warehouse_options, arguments.scan_options),
    ),
    "merge": Command(
        merge,
        "merge all pending manifests of a stream",
        (
            arguments.lake_options,
            arguments.warehouse_options,
            arguments.event_options,
            arguments.limit_options,
            arguments.scan_options,
        ),
    ),
    "redrive": Command(
        redrive_quarantine,
        "make quarantined objects pending again",
        (arguments.lake_options, arguments.warehouse_options, arguments.redrive_options),
    ),
    "raise-epoch": Command(
        raise_epochs,
        "let the rows of a job and of all after it outrank those before",
        (
            arguments.lake_options,
            arguments.warehouse_options,
            arguments.epoch_options,
            arguments.wait_options,
        ),
    ),
    "erase": Command(
        erase_keys,
        "erase the rows of keys permanently",
        (
            arguments.lake_options,
            arguments.warehouse_options,
            arguments.event_options,
            arguments.key_options,
            arguments.reason_options,
        ),
    ),
    "find": Command(
        find_keys,
        "list the files of the lake that hold keys",
        (arguments.lake_options, arguments.key_options),
    ),
    "migrate": Command(
        migrate,
        "change the table's columns to the types of the contract",
        (arguments.warehouse_options,),
    ),
}


def _lake(options: Namespace) -> Lake:
    return open_lake(options.lake_url, options.lake_endpoint)


def _warehouse(options: Namespace) -> Warehouse:
    return open_warehouse(
        WarehouseSettings(
            url=options.warehouse_url,
            marts_url=options.marts_url,
            endpoint=options.warehouse_endpoint,
            max_bytes_billed=options.max_bytes_billed,
        )
    )


def _bus(options: Namespace) -> EventBus | None:
    return EventBus(options.project, options.events_endpoint) if options.project else None


def _run_id() -> str:
    return f"cli-{uuid.uuid4()}"


def _describe(balance: Balance) -> str:
    return (
        f"{balance.rows_in:,} rows in = {balance.merged:,} merged + {balance.superseded:,} superseded"
        f" + {balance.stale:,} stale + {balance.quarantined:,} quarantined"
    )


def _warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def start_logs(kind: str) -> None:
    """Log to stderr: all events as JSON, or warnings as text."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if kind == "json":
        logging.getLogger().handlers[0].setFormatter(CloudLines())
        for name in ("beam_job", "millrace"):
            logging.getLogger(name).setLevel(logging.INFO)


def main() -> int:
    """Run a command; return 0, or 1 on a MillraceError."""
    options = command_parser(COMMANDS).parse_args()
    start_logs(options.logs)
    try:
        contract = find_source(load_sources(options.sources), options.source).stream(options.stream)
        COMMANDS[options.command].run(options, contract)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
