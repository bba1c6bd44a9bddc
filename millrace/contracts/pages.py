"""Contracts in; a page of documentation per source out."""

from millrace.contracts.source import SourceContract
from millrace.contracts.stream import StreamContract
from millrace.domain import names

NOTE = "<!-- Generated from sources/{source}.yaml by `millrace contracts write`; edit that file. -->"


def source_page(source: SourceContract) -> str:
    """Return the Markdown page of a source: the row, key, columns and expectations of each stream."""
    parts = [NOTE.format(source=source.source), f"# {source.source}", "", source.description, ""]
    parts += [
        f"Version {source.version} of the contract, `sources/{source.source}.yaml`. Owner: {source.owner or '–'}.",
        "",
    ]
    return "\n".join(parts) + "\n" + "\n".join(_stream(stream) for stream in source.streams.values())


def _stream(stream: StreamContract) -> str:
    facts = {
        "table": f"`{names.raw_schema(stream.source)}.{stream.stream}`, live rows: `{names.live_view(stream.stream)}`",
        "mode": stream.mode + (", deletes are followed" if stream.reads_deletes else ""),
        "key": _code(stream.key) or "the row's position in its file",
        "order": _code(stream.order),
        "partition": _partition(stream),
        "cluster": _code(stream.cluster),
        "new data": f"within {stream.freshness}" if stream.freshness else "",
        "most of one merge": f"{stream.max_bytes_billed:,} bytes read" if stream.max_bytes_billed else "",
        "new columns, other types": f"{stream.evolution.new_columns}, {stream.evolution.type_changes}",
    }
    lines = [f"## {stream.stream}", "", stream.description, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {fact} |" for name, fact in facts.items() if fact]
    lines += ["", "| column | type | may be null | |", "|---|---|---|---|"]
    for name, c in stream.columns.items():
        kind, null = f"{c.type}, any type" if c.any_type else c.type, "yes" if c.nullable else "no"
        lines.append(f"| `{name}` | {kind} | {null} | {_cell(c.description)} |")
    if stream.expectations:
        lines += ["", "| expected | of | when not |", "|---|---|---|"]
        lines += [
            f"| {_words(e.type)} {_cell(_rest(e.args))} | {_code(e.columns)} | {e.severity} |"
            for e in stream.expectations
        ]
    return "\n".join([*lines, ""])


def _partition(stream: StreamContract) -> str:
    if stream.partition is None:
        return ""
    if stream.partition.column:
        return f"`{stream.partition.column}` by {stream.partition.by}"
    return f"{stream.partition.hash_buckets} buckets of the key"


def _rest(args: dict[str, object]) -> str:
    own = {"column", "column_A", "column_B", "column_list"}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in args.items() if name not in own)


def _words(kind: str) -> str:
    return kind.removeprefix("expect_").replace("_", " ")


def _code(columns: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
