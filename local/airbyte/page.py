"""What the server knows in, one page for people out."""

from html import escape

from local.airbyte.store import Body, Store

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #dde3ea;vertical-align:top}
.n{text-align:right;font-variant-numeric:tabular-nums}.failed{color:#b3261e}.succeeded{color:#1b6e3c}"""
SHOWN = 50


def overview(store: Store) -> str:
    """Connections and the newest jobs, as HTML."""
    names = {c["connectionId"]: c["name"] for c in store.all("connections")}
    connections = "".join(_connection(c) for c in store.all("connections"))
    jobs = "".join(_job(j, names) for j in store.jobs([], ("createdAt", True), SHOWN, 0))
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Airbyte on one machine</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>Airbyte on one machine</h1><h2>Connections</h2>
<table><tr><th>name<th>status<th>streams</tr>{connections or '<tr><td colspan="3">none yet</tr>'}</table>
<h2>Newest jobs</h2><table><tr><th>job<th>connection<th>status<th class="n">rows<th class="n">bytes<th>began (UTC)
<th>error</tr>{jobs or '<tr><td colspan="7">none yet</tr>'}</table></body></html>"""


def _connection(connection: Body) -> str:
    streams = ", ".join(f"{s['name']} ({s.get('syncMode')})" for s in connection["configurations"].get("streams", []))
    return f"<tr><td>{escape(connection['name'])}<td>{escape(connection['status'])}<td>{escape(streams)}</tr>"


def _job(job: Body, names: dict[str, str]) -> str:
    name, status = names.get(job["connection_id"], "deleted"), escape(job["status"])
    return (
        f'<tr><td>{job["id"]}<td>{escape(name)}<td class="{status}">{status}<td class="n">{job["rows"]:,}'
        f'<td class="n">{job["bytes"]:,}<td>{escape(job["created_at"][:19])}<td>{escape(job["error"])}</tr>'
    )
