"""Run the Cloud Storage server: `python -m local.storage --port P --state DIR --pubsub HOST:PORT`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette

from local.serving import common_options, option_parser, owned, serve_http
from local.storage.app import storage_app
from local.storage.index import Index
from local.storage.outbox import Outbox


def main() -> None:
    """Serve until told to end."""
    parser = option_parser("storage", "Cloud Storage for one machine.")
    parser.add_argument("--pubsub", default="", help="address of the Pub/Sub server that takes notifications")
    parsed = parser.parse_args()
    options = common_options(parsed)
    with owned(options.state):
        base_url = f"http://127.0.0.1:{options.port}"
        index = Index(options.state, base_url)
        outbox = Outbox(index, parsed.pubsub)
        application = storage_app(index, base_url, outbox.wake)
        serve_http("storage", announcing(application, outbox) if parsed.pubsub else application, options)


def announcing(application: Starlette, outbox: Outbox) -> Starlette:
    """The application with the outbox at work while it serves."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(outbox.run())
        yield
        task.cancel()

    application.router.lifespan_context = lifespan
    return application


if __name__ == "__main__":
    main()
