"""The page that shows people the connections and their newest jobs, on a phone too, in light and dark."""

from collections.abc import Sequence
from html import escape

from local.servers.airbyte.answers import Json

STYLE = """
:root { color-scheme: light dark; --bg: #f4f7f8; --card: #fff; --ink: #13212b; --soft: #4b5d69; --line: #d5dee3;
  --good: #17693b; --bad: #b0231b; --working: #0a6a94; }
@media (prefers-color-scheme: dark) { :root { --bg: #0d151a; --card: #152029; --ink: #e7eff3; --soft: #a6b6c1;
  --line: #2b3a44; --good: #63d18d; --bad: #ff8b82; --working: #59bfec; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1000px; padding: 20px 16px 40px; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 28px 0 8px; }
p { margin: 4px 0; } .soft { color: var(--soft); }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; font-size: 14px; }
th, td { text-align: left; padding: 7px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } th { color: var(--soft); font-weight: 600; font-size: 13px; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } .when { white-space: nowrap; }
td { overflow-wrap: anywhere; } .status { font-weight: 600; white-space: nowrap; }
.succeeded, .active { color: var(--good); } .failed, .cancelled { color: var(--bad); }
.running { color: var(--working); } .inactive, .deprecated { color: var(--soft); }
@media (max-width: 640px) {
  thead { display: none; } table, tbody, tr, td { display: block; width: 100%; }
  tr { padding: 8px 0; border-bottom: 1px solid var(--line); } tr:last-child { border-bottom: 0; }
  td { border: 0; padding: 2px 12px; display: flex; gap: 12px; justify-content: space-between; text-align: right; }
  td::before { content: attr(data-of); color: var(--soft); text-align: left; flex: none; }
  td:empty { display: none; } .n, .when { white-space: normal; } }
"""
HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<link rel="icon" href="data:,"><title>Airbyte · Millrace</title><style>{STYLE}</style></head>'
)

NUMBERS = ("streams", "rows")


def jobs_page(connections: list[Json], jobs: list[Json]) -> str:
    """The page's HTML."""
    names = {c["connectionId"]: str(c["name"]) for c in connections}
    shown = [
        (c["name"], _status(c["status"]), _schedule(c.get("schedule") or {}), _cell(_streams(c), "n"))
        for c in connections
    ]
    synced = [
        (
            str(j["jobId"]),
            escape(names.get(j["connectionId"], "deleted")),
            _status(j["status"]),
            _cell(escape(str(j["startTime"]).replace("T", " ").removesuffix("Z")), "when"),
            _cell(f"{j['rowsSynced']:,}", "n"),
            escape(j.get("failureReason", "")),
        )
        for j in jobs
    ]
    return (
        f"{HEAD}<body><h1>Airbyte</h1><p class='soft'>The stand-in of this machine: it runs connectors as Airbyte"
        " does, and speaks its public API. Times are UTC.</p><h2>Connections</h2>"
        + _table(("connection", "status", "schedule", "streams"), [(escape(n), *rest) for n, *rest in shown])
        + "<h2>Newest syncs</h2>"
        + _table(("job", "connection", "status", "began", "rows", "reason"), synced)
        + "</body></html>"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells, on a phone, stand below each other with the names of their columns."""
    if not rows:
        return "<p class='soft'>None yet.</p>"
    head = "".join(f'<th class="n">{c}</th>' if c in NUMBERS else f"<th>{c}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(_named(cell, column) for cell, column in zip(row, columns, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _named(cell: str, column: str) -> str:
    whole = cell if cell.startswith("<td") else f"<td>{cell}</td>"
    return whole.replace("<td", f'<td data-of="{column}"', 1)


def _cell(text: str, kind: str) -> str:
    return f'<td class="{kind}">{text}</td>'


def _status(status: object) -> str:
    return f'<td class="status {escape(str(status))}">{escape(str(status))}</td>'


def _schedule(schedule: Json) -> str:
    return escape(str(schedule.get("cronExpression") or schedule.get("scheduleType") or "manual"))


def _streams(connection: Json) -> str:
    return str(len((connection.get("configurations") or {}).get("streams") or []))
