"""Run the Cloud Storage server: `python -m local.servers.storage --port P --state DIR --pubsub HOST:PORT`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette

from local.servers.identity.tokens import identity_of
from local.servers.rights.policy import Policy, make_token
from local.servers.serving import common_options, option_parser, owned, serve_http
from local.servers.storage.app import storage_app
from local.servers.storage.index import Index
from local.servers.storage.outbox import Outbox

AGENT = "service-123456789012@gs-project-accounts.iam.gserviceaccount.com"  # announces objects
SWEEP_S = 60.0
Work = Callable[[], Coroutine[None, None, None]]


def main() -> None:
    """Serve until SIGTERM or the end of the parent."""
    parser = option_parser("storage", "Cloud Storage for one machine.")
    parser.add_argument("--pubsub", default="", help="address of the Pub/Sub server that takes notifications")
    parser.add_argument("--identity", type=Path, help="directory of the key that signs URLs")
    parser.add_argument("--rights", type=Path, help="file of rights that bearers are checked against")
    parsed = parser.parse_args()
    options = common_options(parsed)
    with owned(options.state):
        base_url = f"http://127.0.0.1:{options.port}"
        index = Index(options.state, base_url)
        outbox = Outbox(index, parsed.pubsub, make_token(AGENT) if parsed.rights else "")
        certificate = identity_of(parsed.identity).certificate if parsed.identity else None
        policy = Policy.load(parsed.rights) if parsed.rights else None
        application = storage_app(index, base_url, outbox.wake, certificate, policy)
        works: list[Work] = [lambda: sweep(index, outbox)] + ([outbox.run] if parsed.pubsub else [])
        serve_http("storage", working(application, works), options)


async def sweep(index: Index, outbox: Outbox) -> None:
    """Apply the buckets' lifecycle rules, for ever."""
    while True:
        if index.sweep(datetime.now(UTC)):
            outbox.wake()
        await asyncio.sleep(SWEEP_S)


def working(application: Starlette, works: Iterable[Work]) -> Starlette:
    """The application with other work going on while it serves."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work()) for work in works]
        yield
        for task in tasks:
            task.cancel()

    application.router.lifespan_context = lifespan
    return application


if __name__ == "__main__":
    main()
