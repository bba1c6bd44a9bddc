"""A small HTTP server in place of Prefect's API: it stores accepted events, and can be set to reject or to stop."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


class PrefectServer:
    """The events endpoint on one port; `answer` is the status it gives, and `wrong` names events it calls wrong.

    `runs` are the active runs by flow, `ended` the others; `slots` is the number of runs that hold each slot. An event
    that needs a merge starts one, as a trigger does.
    """

    def __init__(self, port: int) -> None:
        self.port, self.answer = port, 204
        self.asked = 0  # requests to take events
        self.questions = 0  # requests which events are stored
        self.most_at_once = 0  # events in one request
        self.hold = threading.Event()  # while cleared, requests to take events wait
        self.hold.set()
        self.events: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.wrong: set[str] = set()
        self.stores = True  # else it takes events, and they do not come into its database
        self.database = True  # else it takes events nevertheless, and says at /ready that it has no database
        self.runs: dict[str, list[Json]] = {}
        self.ended: dict[str, list[Json]] = {}
        self.slots: dict[str, int] = {}
        self.answer_to_looks = 200
        self.looks = 0  # queries of active runs
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Answer on the port, again or for the first time."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def trigger(self, event: Json) -> None:
        """Start a merge if an event needs one."""
        if event["event"] == "lake.landed" and event["resource"].get("millrace.run") == "needed":
            state = {"type": "SCHEDULED", "timestamp": datetime.now(UTC).isoformat()}
            run = {"state": state, "parameters": event["payload"], "tags": []}
            self.runs["merge"] = [*self.runs.get("merge", []), run]

    def stop(self) -> None:
        """Leave the port."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def prefect_server(port: int) -> Iterator[PrefectServer]:
    """A server that is gone at the end."""
    server = PrefectServer(port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _handler(server: PrefectServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/flow_runs/filter":
                server.looks += 1
                flow, criteria = body["flows"]["name"]["any_"][0], body["flow_runs"]
                runs = server.runs.get(flow, []) + (server.ended.get(flow, []) if "state" not in criteria else [])
                return self._end(server.answer_to_looks, json.dumps(runs[body["offset"] :][: body["limit"]]).encode())
            if self.path == "/api/events/filter":
                server.questions += 1
                ids = set(body["filter"]["id"]["id"]) if server.stores else set()
                events = [{"id": event["id"]} for event in server.events if event["id"] in ids]
                return self._end(200, json.dumps({"events": events}).encode())
            server.asked += 1
            server.hold.wait(60)
            status = server.answer if self.path == "/api/events" else 404
            status = 422 if server.wrong & {event["id"] for event in body} else status
            if status < 300:
                server.events += body
                for event in body:
                    server.trigger(event)
                server.most_at_once = max(server.most_at_once, len(body))
                server.headers.append(dict(self.headers))
            self._end(status)

        def do_GET(self) -> None:
            if self.path == "/api/ready":
                return self._end(200 if server.database else 503)
            if self.path.startswith("/api/v2/concurrency_limits/"):
                held = server.slots.get(self.path.rsplit("/", 1)[1])
                return self._end(404 if held is None else 200, json.dumps({"active_slots": held}).encode())
            self._end(404)

        def _end(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    return Handler
