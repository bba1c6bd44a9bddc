"""`GET /notices?since=…&page=…` in pages; every third request is one too many (429). `POST /notices` adds one."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "notices"
PAGE = 50
TOO_MANY = 3
AIRPORTS = ("EWR", "JFK", "LGA")
FIRST = datetime(2013, 1, 1, tzinfo=UTC)
Json = dict[str, Any]


def notice(number: int) -> Json:
    """Return one of the initial notices, which are an hour apart."""
    at = FIRST + timedelta(hours=number)
    text = f"Notice {number}: a taxiway is closed"
    return {"id": number, "airport": AIRPORTS[number % 3], "text": text, "updated_at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}


def notices_app(file: Path) -> Starlette:
    """Return the server; added notices are stored in `file`."""
    notices = json.loads(file.read_text()) if file.exists() else [notice(number) for number in range(120)]
    count = itertools.count(1)
    stats: Json = {"answered": 0, "refused": 0, "since": ""}

    async def listed(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": "unknown token"}, 401)
        if request.method == "POST":
            notices.append(await request.json())
            file.write_text(json.dumps(notices))
            return JSONResponse(notices[-1], 201)
        if next(count) % TOO_MANY == 0:
            stats["refused"] += 1
            return JSONResponse({"error": "too many requests"}, 429, {"Retry-After": "1"})
        since, page = request.query_params.get("since", ""), int(request.query_params.get("page", "1"))
        stats.update(answered=stats["answered"] + 1, since=since)
        newest = sorted((n for n in notices if n["updated_at"] >= since), key=lambda n: str(n["updated_at"]))
        return JSONResponse({"data": newest[(page - 1) * PAGE : page * PAGE]})

    async def stats_of(_: Request) -> Response:
        return JSONResponse(stats)

    return Starlette(routes=[Route("/notices", listed, methods=["GET", "POST"]), Route("/stats", stats_of)])
