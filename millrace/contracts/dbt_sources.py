"""Contracts in; dbt's `sources` with their freshness, and the macro `good_rows`, out."""

from collections.abc import Iterable
from typing import Any

import yaml

from millrace.contracts.row_rules import COLUMN, row_rule
from millrace.contracts.source import SourceContract
from millrace.contracts.stream import DURATION, StreamContract
from millrace.domain import names
from millrace.domain.quality import QUARANTINE

PERIODS = {"m": "minute", "h": "hour", "d": "day"}
PREFIX = "{{ env_var('MILLRACE_BIGQUERY_PREFIX', '') }}"
TABLE = "All keys ever seen, deleted ones included; macro live_rows gives live rows."
DATABASE = "{{ 'warehouse' if target.type == 'duckdb' else target.project }}"


def sources_yaml(sources: Iterable[SourceContract]) -> str:
    """Return dbt's `sources`: each stream's table with its columns and its freshness."""
    return yaml.safe_dump({"sources": [_source(s) for s in sources]}, sort_keys=False, width=120, allow_unicode=True)


def _source(source: SourceContract) -> dict[str, Any]:
    return {
        "name": source.source,
        "description": source.description,
        "database": DATABASE,
        "schema": PREFIX + names.raw_schema(source.source),
        "config": {"loaded_at_field": "_extracted_at"},
        "tables": [_table(stream) for stream in source.streams.values()],
    }


def _table(stream: StreamContract) -> dict[str, Any]:
    return {
        "name": stream.stream,
        "description": f"{stream.description} {TABLE}",
        "config": {"freshness": _freshness(stream), "meta": {"owner": stream.owner}},
        "columns": [{"name": n, "description": c.description} for n, c in stream.columns.items()],
    }


def _freshness(stream: StreamContract) -> dict[str, Any] | None:
    match = DURATION.match(stream.freshness or "")
    return {"error_after": {"count": int(match[1]), "period": PERIODS[match[2]]}} if match else None


def good_rows_macro(sources: Iterable[SourceContract]) -> str:
    """Return the macro `good_rows`: true for rows that meet every expectation of severity `quarantine`."""
    lines = [
        "{# True for rows that keep the expectations of severity `quarantine` in the contract of their stream. #}",
        "{% macro good_rows(source_name, stream) %}",
    ]
    for stream in (stream for source in sources for stream in source.streams.values()):
        rules = [
            _in_jinja(rule, e.columns[0])
            for e in stream.expectations
            if e.severity == QUARANTINE and (rule := row_rule(e))
        ]
        if rules:
            lines += [
                f"  {{%- if source_name == '{stream.source}' and stream == '{stream.stream}' -%}}",
                "    {{ return(" + " ~ ' and ' ~ ".join(rules) + ") }}",
                "  {%- endif -%}",
            ]
    return "\n".join([*lines, "  {{ return('true') }}", "{% endmacro %}"]) + "\n"


def _in_jinja(rule: str, column: str) -> str:
    """Return a rule as an expression of Jinja; the warehouse quotes the column."""
    return '"' + rule.replace(COLUMN, f'" ~ adapter.quote("{column}") ~ "') + '"'
