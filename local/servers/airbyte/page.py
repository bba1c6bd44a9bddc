"""The page that shows people the connections and their newest jobs."""

from html import escape

from local.servers.airbyte.answers import Json

HEAD = (
    "<!doctype html><meta charset=utf-8><title>Airbyte · Millrace</title><style>body{font:15px system-ui;"
    "margin:2em;color-scheme:light dark}td,th{padding:4px 14px;text-align:left}</style>"
)


def jobs_page(connections: list[Json], jobs: list[Json]) -> str:
    """The page's HTML."""
    rows = "".join(
        f"<tr><td>{j['jobId']}<td>{escape(j['status'])}<td>{j['startTime']}<td>{j['rowsSynced']:,}"
        f"<td>{escape(j.get('failureReason', ''))}</tr>"
        for j in jobs
    )
    names = ", ".join(escape(c["name"]) for c in connections)
    return (
        f"{HEAD}<h1>Local Airbyte</h1><p>Connections: {names or 'none'}</p>"
        f"<table><tr><th>job<th>status<th>started<th>rows<th>reason</tr>{rows}</table>"
    )
