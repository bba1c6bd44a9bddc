"""Run the Pub/Sub server: `python -m local.servers.pubsub --port P --state DIR --identity DIR`."""

import asyncio
from pathlib import Path

from local.servers.pubsub.broker import Broker
from local.servers.pubsub.publisher import PublisherService
from local.servers.pubsub.push import Pusher
from local.servers.pubsub.rights import METHODS, rejection
from local.servers.pubsub.store import Store
from local.servers.pubsub.subscriber import SubscriberService
from local.servers.rights.calls import Guard
from local.servers.rights.policy import Policy
from local.servers.rpc import start_server
from local.servers.serving import GRACE_S, common_options, hear_of_end, option_parser, owned, run_until_ended, say_ready


def main() -> None:
    """Serve until SIGTERM or the end of the parent."""
    parser = option_parser("pubsub", "Pub/Sub for one machine.")
    parser.add_argument("--identity", type=Path, help="directory of the key that signs push tokens")
    parser.add_argument("--rights", type=Path, help="file of rights that bearers are checked against")
    parsed = parser.parse_args()
    guards = [Guard(Policy.load(parsed.rights), METHODS, rejection)] if parsed.rights else []
    options = common_options(parsed)

    async def serve() -> None:
        until_told = hear_of_end(options.parent)
        broker = Broker(Store(options.state / "pubsub.sqlite"))
        pusher = Pusher(broker, parsed.identity)
        services = {
            "google.pubsub.v1.Publisher": PublisherService(broker, pusher.changed).methods(),
            "google.pubsub.v1.Subscriber": SubscriberService(broker, pusher.changed).methods(),
        }
        server = await start_server(options.port, services, guards)
        pusher.resume()
        sweeping = asyncio.create_task(broker.sweep())
        say_ready("pubsub", options.port)
        await until_told()
        sweeping.cancel()
        await pusher.close()
        await server.stop(GRACE_S)
        broker.store.close()

    with owned(options.state):
        run_until_ended(serve)


if __name__ == "__main__":
    main()
