"""Run the local Airbyte: `python -m local.servers.airbyte --help`."""

import argparse
import os
from pathlib import Path

from google.cloud import storage

from local.servers.airbyte.app import TOKEN_S, WORKSPACE, Api
from local.servers.airbyte.bucket import Bucket
from local.servers.airbyte.connectors import Connectors
from local.servers.airbyte.runner import Runner
from local.servers.airbyte.scheduler import Scheduler
from local.servers.airbyte.secrets import Secrets
from local.servers.airbyte.store import Store
from local.servers.airbyte.sync import Syncs
from local.servers.airbyte.webhook import Webhook
from local.servers.serving import common_options, option_parser, owned, serve_http
from millrace.access import credentials as identity


def options() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = option_parser("airbyte", "Airbyte for one machine.")
    parser.add_argument("--storage", required=True, help="http://HOST:PORT of Cloud Storage")
    parser.add_argument("--bucket", required=True, help="the lake's bucket, for a destination that names none")
    parser.add_argument("--secrets", required=True, help="HOST:PORT of Secret Manager")
    parser.add_argument("--project", default="millrace-local", help="project of the secrets")
    parser.add_argument(
        "--connectors",
        type=Path,
        action="append",
        default=[],
        help="file of more connectors, read at each use: settings with [airbyte.connectors], or JSON that maps an image"
        " to its command",
    )
    parser.add_argument(
        "--webhook",
        default=os.environ.get("MILLRACE_AIRBYTE_WEBHOOK"),
        help="URL that gets a POST for each ended job, as Airbyte's notification webhook [MILLRACE_AIRBYTE_WEBHOOK]",
    )
    parser.add_argument("--token-s", type=float, default=TOKEN_S, help="seconds that an access token lives")
    return parser


def main() -> None:
    """Serve until SIGTERM or the end of the parent."""
    parsed = options().parse_args()
    common = common_options(parsed)
    connectors = Connectors(parsed.connectors)
    connectors.check()
    client = storage.Client(
        project=parsed.project, credentials=identity(parsed.storage), client_options={"api_endpoint": parsed.storage}
    )
    credentials = (os.environ["MILLRACE_AIRBYTE_CLIENT_ID"], os.environ["MILLRACE_AIRBYTE_CLIENT_SECRET"])
    with owned(common.state):
        store = Store(common.state / "airbyte.sqlite")
        secrets = Secrets(parsed.secrets, parsed.project)
        syncs = Syncs(store, secrets, lambda name: Bucket(client, name or parsed.bucket), connectors)
        notify = Webhook(store, parsed.webhook, WORKSPACE).notify if parsed.webhook else None
        runner = Runner(store, syncs, common.state / "logs", notify)
        scheduler = Scheduler(store, runner.start)
        scheduler.open()
        try:
            serve_http("airbyte", Api(store, runner, credentials, parsed.token_s).application(), common)
        finally:
            scheduler.close()
            runner.close()


if __name__ == "__main__":
    main()
