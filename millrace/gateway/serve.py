"""Settings in; a gateway that serves until a signal ends it, out."""

import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette

from millrace.domain import names
from millrace.domain.airbyte import AirbyteCompleted
from millrace.domain.errors import SettingsError
from millrace.gateway.app import Health, Pushes, build_app, send_events
from millrace.gateway.confirmed import Confirmed
from millrace.gateway.landings import Landings
from millrace.gateway.needed import Needed
from millrace.gateway.outbox import Circuit, Outbox
from millrace.gateway.prefect_api import PrefectApi, api_headers
from millrace.gateway.prefect_events import PrefectEvents
from millrace.gateway.prefect_runs import PrefectRuns
from millrace.gateway.verify import Certificates, Verifier
from millrace.gateway.webhook import Token, Webhook
from millrace.settings import Settings

STACK = "MILLRACE_STACK"  # the identity of the stack that the process belongs to
KEEP_ALIVE_S = 75  # longer than Pub/Sub pauses between two pushes, so that none meets a closing connection


class Server:
    """One process of the gateway."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        url = environment.get("PREFECT_API_URL", "")
        if not url:
            raise SettingsError("PREFECT_API_URL is not set; set it to the address of the Prefect API, …/api")
        self._settings, self._stack = settings, environment.get(STACK, "")
        timeout_s = settings.gateway.prefect_timeout_s
        self._http = httpx.AsyncClient(timeout=timeout_s)
        api = PrefectApi(url, api_headers(environment), self._http, timeout_s)
        prefect = PrefectEvents(api)
        self._outbox = Outbox(prefect, Circuit())
        needed = Needed(Confirmed(self._outbox, prefect), PrefectRuns(api, settings.reconcile.pending_s))
        self._events = Landings(needed, settings.gateway.landings_apart_s)
        self._web: uvicorn.Server | None = None
        self._failed = False

    def push(self, host: str, port: int) -> bool:
        """Serve pushes until a signal, then answer those in flight; return false when the server did not start."""
        settings = self._settings.gateway
        certificates = Certificates(settings.certs_url, self._http)
        pushes = Pushes(Verifier(certificates, settings.audience, settings.push_account), self._events)

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with self._http, send_events(self._outbox):
                yield

        return self._serve(build_app(Health(certificates, self._stack), pushes, self._webhook(), lifespan), host, port)

    def pull(self, host: str, port: int) -> bool:
        """Pull until a signal, then finish the messages in work; return false when a subscription can't be pulled."""
        from millrace.gateway.pull import Puller  # its import takes a second, which a gateway for pushes does not need

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with self._http, send_events(self._outbox):
                puller = Puller(self._settings.events.project, self._settings.events.endpoint, self._events, self._fail)
                puller.start(names.TOPICS)
                try:
                    yield
                finally:
                    await puller.stop()

        return self._serve(build_app(Health(None, self._stack), None, self._webhook(), lifespan), host, port)

    def _webhook(self) -> Webhook | None:
        """Return the endpoint for Airbyte if the settings name its secret; the first call imports Google's clients."""
        if not self._settings.gateway.airbyte_token_secret:
            return None
        return Webhook(Token(self._read_token), self._publish)

    def _read_token(self) -> str:
        from millrace.gateway.google_clients import newest_secret

        settings = self._settings
        return newest_secret(settings.events.project, settings.gateway.airbyte_token_secret, settings.secrets.endpoint)

    def _publish(self, completed: AirbyteCompleted) -> str:
        from millrace.gateway.google_clients import event_bus

        return event_bus(self._settings.events.project, self._settings.events.endpoint).publish(completed)

    def _fail(self) -> None:
        self._failed = True
        if self._web:
            self._web.should_exit = True

    def _serve(self, app: Starlette, host: str, port: int) -> bool:
        # uvicorn ends gracefully at a signal and raises it again afterwards; by then all is finished, so exit with 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=self._settings.gateway.grace_s,
        )
        self._web = uvicorn.Server(config)
        self._web.run()
        return self._web.started and not self._failed
