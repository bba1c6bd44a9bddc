"""Run the Secret Manager: `python -m local.servers.secrets --port P --state DIR`."""

from pathlib import Path

from local.servers.rights.calls import Guard
from local.servers.rights.policy import Policy
from local.servers.rpc import start_server
from local.servers.secrets.rights import METHODS, rejection
from local.servers.secrets.service import SecretService
from local.servers.serving import GRACE_S, common_options, hear_of_end, option_parser, owned, run_until_ended, say_ready


def main() -> None:
    """Serve until SIGTERM or the end of the parent."""
    parser = option_parser("secrets", "Secret Manager for one machine.")
    parser.add_argument("--rights", type=Path, help="file of rights that bearers are checked against")
    parsed = parser.parse_args()
    options = common_options(parsed)
    guards = [Guard(Policy.load(parsed.rights), METHODS, rejection)] if parsed.rights else []

    async def serve() -> None:
        until_told = hear_of_end(options.parent)
        service = SecretService(options.state / "secrets.json")
        methods = {"google.cloud.secretmanager.v1.SecretManagerService": service.methods()}
        server = await start_server(options.port, methods, guards)
        say_ready("secrets", options.port)
        await until_told()
        await server.stop(GRACE_S)

    with owned(options.state):
        run_until_ended(serve)


if __name__ == "__main__":
    main()
