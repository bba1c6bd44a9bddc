"""A source's connector and the proposed contracts of its streams in; the files that a project gets, out."""

from collections.abc import Sequence
from typing import Any

import yaml

from millrace.contracts.proposal import Proposal

# Words that a column must be quoted for in DuckDB's or BigQuery's SQL.
RESERVED_WORDS = """
    all and any array as asc at between by case cast check collate column constraint create cross current
    default desc distinct else end except exists extract false fetch following for foreign from full group
    grouping having if in inner intersect interval into is join lateral left like limit merge natural new no not
    null nulls of offset on or order outer over partition preceding primary qualify range recursive references
    right rows select set some struct table tablesample then to treat trailing true unbounded union unique
    unnest using when where window with within
"""
RESERVED = frozenset(RESERVED_WORDS.split())

Json = dict[str, Any]


def contract_text(name: str, connector: Json, proposals: Sequence[Proposal], owner: str, description: str) -> str:
    """Return `sources/NAME.yaml`: one line for each column."""
    head = {"source": name, "version": 1, "description": description, "owner": owner}
    head = {k: v for k, v in head.items() if v}
    lines = [_block(head | {"connector": connector}), "streams:"]
    for proposal in proposals:
        lines += [f"  {proposal.name}:", *_stream(proposal)]
    return "\n".join(lines) + "\n"


def _stream(proposal: Proposal) -> list[str]:
    lines = [f"    # {remark}" for remark in proposal.remarks]
    for field, value in proposal.contract.items():
        if field == "expectations":
            lines += ["    expectations:", *(f"      - {flow(item)}" for item in value)]
        elif field == "columns":
            lines += ["    columns:", *(f"      {flow(name)}: {flow(column)}" for name, column in value.items())]
        else:
            lines.append(f"    {field}: {flow(value)}")
    return lines


def _block(data: Json) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120).rstrip()


def flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1 << 20, default_flow_style=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def model_name(source: str, stream: str) -> str:
    """Return the name of a stream's staging model."""
    return f"stg_{source}_{stream}"


def staging_sql(source: str, proposal: Proposal) -> str:
    """Return the staging model: the live rows of a stream, with instants in UTC."""
    columns = [_selected(name, column["type"]) for name, column in proposal.contract["columns"].items()]
    body = ",\n".join(f"  {column}" for column in columns)
    return f"select\n{body}\nfrom {{{{ live_rows('{source}', '{proposal.name}') }}}} as merged\n"


def _selected(name: str, kind: str) -> str:
    quoted = "{{ adapter.quote('" + name + "') }}" if name.lower() in RESERVED else name
    if kind != "timestamp":
        return quoted
    inside = f"adapter.quote('{name}')" if quoted != name else f"'{name}'"
    return f"{{{{ utc_timestamp({inside}) }}}} as {quoted}"


def staging_yaml(source: str, proposal: Proposal) -> str:
    """Return the description of the staging model and of its columns."""
    described = proposal.contract.get("description") or f"One row per live row of {source}.{proposal.name}."
    columns = [
        {"name": name, "description": column["description"]} if column.get("description") else {"name": name}
        for name, column in proposal.contract["columns"].items()
    ]
    model = {"name": model_name(source, proposal.name), "description": described, "columns": columns}
    return yaml.safe_dump({"models": [model]}, sort_keys=False, allow_unicode=True, width=120)
