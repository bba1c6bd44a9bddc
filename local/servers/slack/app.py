"""Accepts webhook posts, and serves them as a page and as a JSON list."""

import html
import json
import re
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route

MAX_BODY = 256 * 1024
EMOJI = {
    "white_check_mark": "✅",
    "x": "❌",
    "warning": "⚠️",
    "rotating_light": "🚨",
    "bar_chart": "📊",
    "no_entry": "⛔",
    "red_circle": "🔴",
    "large_green_circle": "🟢",
    "package": "📦",
    "information_source": "ℹ️",
}
TOKEN = re.compile(
    r"<(?P<link>https?://[^\s|>]+)(?:\|(?P<label>[^>]+))?>|(?P<url>https?://[^\s<>|]+)|`(?P<code>[^`\n]+)`"
    r"|(?<![\w*])\*(?P<bold>[^*\n]+)\*(?![\w*])|:(?P<emoji>[a-z_]+):"
)
PAGE = (Path(__file__).parent / "inbox.html").read_text()


def slack_app(state: Path, tokens: list[str]) -> Starlette:
    """`POST /services/<token>`, `GET /` and `GET /messages.json`."""
    db = sqlite3.connect(state / "inbox.sqlite", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, body TEXT)")

    async def post(request: Request) -> PlainTextResponse:
        if request.path_params["token"] not in tokens:
            return PlainTextResponse("no_team", 404)
        body = await request.body()
        if len(body) > MAX_BODY:
            return PlainTextResponse("payload_too_large", 413)
        message = _payload(body, request.headers.get("content-type", ""))
        if message is None:
            return PlainTextResponse("invalid_payload", 400)
        if not message.get("text") and not message.get("blocks"):
            return PlainTextResponse("no_text", 400)
        db.execute("INSERT INTO messages (at, body) VALUES (?, ?)", (time.time(), json.dumps(message)))
        return PlainTextResponse("ok")

    def messages() -> list[dict[str, Any]]:
        rows = db.execute("SELECT id, at, body FROM messages ORDER BY id")
        return [json.loads(b) | {"id": i, "at": datetime.fromtimestamp(at, UTC).isoformat()} for i, at, b in rows]

    async def listing(_: Request) -> JSONResponse:
        return JSONResponse(messages())

    async def inbox(_: Request) -> HTMLResponse:
        shown = "".join(_article(m) for m in messages()[:-501:-1]) or "<p class=empty>Nothing was posted yet.</p>"
        return HTMLResponse(PAGE.replace("{{messages}}", shown))

    return Starlette(
        routes=[
            Route("/", inbox),
            Route("/messages.json", listing),
            Route("/services/{token:path}", post, methods=["POST"]),
        ]
    )


def _payload(body: bytes, content_type: str) -> dict[str, Any] | None:
    try:
        text = body.decode()
        if content_type.startswith("application/x-www-form-urlencoded"):
            text = parse_qs(text)["payload"][0]
        message = json.loads(text)
    except (UnicodeDecodeError, ValueError, KeyError):
        return None
    return message if isinstance(message, dict) else None


def _article(message: dict[str, Any]) -> str:
    at = message["at"][:19].replace("T", " ")
    text = render(str(message.get("text", "")))
    return f"<article><header><b>Millrace</b> <time>{at} UTC</time></header><div>{text}</div></article>"


def render(text: str) -> str:
    """Slack's mrkdwn as safe HTML: links, bold, code, emoji; each part is read once, so none hides in another."""
    parts, end = [], 0
    for match in TOKEN.finditer(text):
        parts += [_plain(text[end : match.start()]), _token(match)]
        end = match.end()
    return "".join([*parts, _plain(text[end:])])


def _token(match: re.Match[str]) -> str:
    if url := match["link"] or match["url"]:
        return f'<a href="{html.escape(url)}">{_plain(match["label"] or url)}</a>'
    if match["code"]:
        return f"<code>{html.escape(match['code'])}</code>"
    if match["bold"]:
        return f"<strong>{render(match['bold'])}</strong>"
    return EMOJI.get(match["emoji"], match[0])


def _plain(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
