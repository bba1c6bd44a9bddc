"""The gateway: `python -m millrace.gateway` serves pushes, `… pull` pulls subscriptions; needs PREFECT_API_URL."""

import argparse
import logging
import os
import sys

from millrace.domain.errors import MillraceError
from millrace.gateway.serve import Server
from millrace.observability.lines import CloudLines
from millrace.settings import load_settings


def main() -> int:
    """Serve until a signal; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m millrace.gateway", description=__doc__)
    parser.add_argument(
        "mode", nargs="?", choices=("push", "pull"), default="push", help="how to receive messages [push]"
    )
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")), help="port [PORT, 8080]")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1; 0.0.0.0 in a container)")
    options = parser.parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(CloudLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        server = Server(load_settings(), os.environ)
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    serve = server.pull if options.mode == "pull" else server.push
    return 0 if serve(options.host, options.port) else 1


if __name__ == "__main__":
    sys.exit(main())
