"""Serves the gateway: `python -m gateway --port P`. Settings are the platform's, and PREFECT_API_URL."""

import argparse
import json
import logging
import os
import sys
from datetime import UTC, datetime

import uvicorn

from contracts.errors import MillraceError, SettingsError
from gateway.app import gateway_app
from gateway.prefect_events import api_headers
from settings import load_settings


class JsonLines(logging.Formatter):
    """One JSON object a line, as Cloud Logging reads it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's level, message, event and fields."""
        line = {"severity": record.levelname, "message": record.getMessage(),
                "time": datetime.fromtimestamp(record.created, UTC).isoformat()}  # fmt: skip
        if event := getattr(record, "event", None):
            line |= {"event": event, **getattr(record, "fields", {})}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")), help="port [PORT, 8080]")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1; 0.0.0.0 in a container)")
    options = parser.parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = load_settings().gateway
        prefect = os.environ.get("PREFECT_API_URL", "")
        if not prefect:
            raise SettingsError("PREFECT_API_URL is not set; it is the address of the Prefect API, …/api")
    except MillraceError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    app = gateway_app(settings.certs_url, settings.audience, settings.push_account, prefect, api_headers(os.environ))
    config = uvicorn.Config(app, host=options.host, port=options.port, log_config=None, access_log=False)
    uvicorn.Server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
