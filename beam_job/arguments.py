"""Commands in, their argument parser out: each command accepts only the options that it uses."""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from beam_job.batches import Limits
from beam_job.lease import LEASE_S
from beam_job.redrive import MAX_ATTEMPTS
from millrace.contracts.stream import StreamContract

Parser = argparse.ArgumentParser

DESCRIPTION = "Merge, redrive, erase or migrate one stream without Prefect."
EXAMPLES = """examples:
  python -m beam_job pending --source shop --stream orders
  python -m beam_job merge --source shop --stream orders
  python -m beam_job redrive --source shop --stream orders
  python -m beam_job raise-epoch --source shop --stream orders --from-job 12
  python -m beam_job erase --source shop --stream orders --key '{"id": 7}' --reason "request 7"
  python -m beam_job find --source shop --stream orders --key '{"id": 7}'
  python -m beam_job migrate --source shop --stream orders
Defaults come from the environment variables in [brackets]; `python -m beam_job COMMAND --help` lists the options."""


@dataclass(frozen=True)
class Command:
    """A command: its function, its help, and functions that add the options it uses."""

    run: Callable[[argparse.Namespace, StreamContract], None]
    help: str
    options: tuple[Callable[[Parser], None], ...]


def command_parser(commands: Mapping[str, Command]) -> Parser:
    """Return a parser with one subparser per command."""
    parser = Parser(
        prog="python -m beam_job",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, command in commands.items():
        subparser = subparsers.add_parser(name, help=command.help, description=f"{command.help.capitalize()}.")
        for add_options in (stream_options, *command.options, log_options):
            add_options(subparser)
    return parser


def stream_options(parser: Parser) -> None:
    """Add the options that name the stream."""
    parser.add_argument("--source", required=True, help="name of a file in --sources, without .yaml")
    parser.add_argument("--stream", required=True, help="a stream of the source")
    parser.add_argument("--sources", type=Path, default=Path("sources"), help="directory of the contracts (sources)")


def lake_options(parser: Parser) -> None:
    """Add the addresses of the lake."""
    _add_from_environment(parser, "--lake-url", "MILLRACE_LAKE__URL", "gs://<bucket>")
    text = "address of a Cloud Storage server other than Google's"
    _add_from_environment(parser, "--lake-endpoint", "MILLRACE_LAKE__ENDPOINT", text)


def warehouse_options(parser: Parser) -> None:
    """Add the addresses and the budget of the warehouse."""
    text = "duckdb:///<file> or bigquery://<project>/<location>"
    _add_from_environment(parser, "--warehouse-url", "MILLRACE_WAREHOUSE__URL", text)
    text = "address of a BigQuery server other than Google's"
    _add_from_environment(parser, "--warehouse-endpoint", "MILLRACE_WAREHOUSE__ENDPOINT", text)
    _add_from_environment(parser, "--marts-url", "MILLRACE_WAREHOUSE__MARTS_URL", "address of the published marts")
    parser.add_argument(
        "--max-bytes-billed",
        type=int,
        default=os.environ.get("MILLRACE_WAREHOUSE__MAX_BYTES_BILLED", "0"),
        metavar="BYTES",
        help="maximum bytes that a commit reads; 0: no limit [MILLRACE_WAREHOUSE__MAX_BYTES_BILLED]",
    )


def event_options(parser: Parser) -> None:
    """Add the project and address of Pub/Sub."""
    text = "project of the topics; without it no message is published"
    _add_from_environment(parser, "--project", "MILLRACE_EVENTS__PROJECT", text)
    text = "address of a Pub/Sub server other than Google's"
    _add_from_environment(parser, "--events-endpoint", "MILLRACE_EVENTS__ENDPOINT", text)


def limit_options(parser: Parser) -> None:
    """Add the limits of a batch, and the time to wait for another merge."""
    text = "maximum size of a batch in bytes"
    parser.add_argument("--max-bytes", type=int, default=Limits.max_bytes, metavar="BYTES", help=text)
    text = "maximum number of files in a batch"
    parser.add_argument("--max-files", type=int, default=Limits.max_files, metavar="FILES", help=text)
    text = "maximum size of a batch that is merged without Beam; 0: always use Beam"
    parser.add_argument("--plain-max-bytes", type=int, default=Limits.plain_max_bytes, metavar="BYTES", help=text)
    wait_options(parser)


def wait_options(parser: Parser) -> None:
    """Add the time to wait for another merge."""
    text = "time to wait while another process merges the stream"
    parser.add_argument("--wait-s", type=float, default=2 * LEASE_S, metavar="SECONDS", help=text)


def scan_options(parser: Parser) -> None:
    """Add the option to list all manifests."""
    text = "list all manifests, also those that came more than 7 days late"
    parser.add_argument("--full-scan", action="store_true", help=text)


def redrive_options(parser: Parser) -> None:
    """Add the options that select quarantined objects."""
    text = "name of a quarantined object; may be repeated; default: all of the stream"
    parser.add_argument("--object", action="append", default=[], help=text)
    text = "skip objects that were merged this many times"
    parser.add_argument("--max-attempts", type=int, default=MAX_ATTEMPTS, metavar="N", help=text)


def epoch_options(parser: Parser) -> None:
    """Add the options that name the first job with a higher epoch."""
    text = "id of the first Airbyte job after the stream started over"
    parser.add_argument("--from-job", type=int, required=True, metavar="ID", help=text)
    text = "id of that job's connection, if two Airbytes had a job with that id"
    parser.add_argument("--connection", default="", metavar="ID", help=text)


def key_options(parser: Parser) -> None:
    """Add the option for keys."""
    text = "a key as JSON, as in '{\"id\": 7}'; may be repeated"
    parser.add_argument("--key", action="append", default=[], type=json.loads, help=text)


def reason_options(parser: Parser) -> None:
    """Add the reason of an erasure."""
    parser.add_argument("--reason", default="", help="reason of the erasure, which the ledger keeps")


def log_options(parser: Parser) -> None:
    """Add the format of logs."""
    parser.add_argument(
        "--logs",
        choices=["text", "json"],
        default=os.environ.get("MILLRACE_LOGS", "text"),
        help="text: warnings for people; json: all events, one line each, for Cloud Logging [MILLRACE_LOGS]",
    )


def _add_from_environment(parser: Parser, option: str, variable: str, text: str) -> None:
    parser.add_argument(option, default=os.environ.get(variable, ""), help=f"{text} [{variable}]")
