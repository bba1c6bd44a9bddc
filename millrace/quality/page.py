"""The quality page: the newest result of every expectation in, one HTML page grouped by table out.

Tables that break an expectation come first; within a table what could not be checked comes first, as it hides the rest.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

from millrace.domain.quality import QUARANTINE, STOP, UNCHECKED, WARN, QualityResult

CSS = Path(__file__).with_name("page.css")
SEVERITIES = {  # of a failed expectation: mark, colour, what it means for the marts
    STOP: ("✗", "bad", "stops its marts"),
    QUARANTINE: ("!", "look", "rows are left out"),
    WARN: ("!", "look", "warns only"),
}
COUNTED = {STOP: "stop their marts", QUARANTINE: "leave rows out", WARN: "only warn"}
PHRASES = {
    "expect_column_values_to_not_be_null": "{} is never null",
    "expect_column_values_to_be_null": "{} is always null",
    "expect_column_values_to_be_unique": "{} has no value twice",
    "expect_compound_columns_to_be_unique": "{} are unique together",
    "expect_column_values_to_be_in_set": "{} has only the listed values",
    "expect_column_values_to_not_be_in_set": "{} has none of the listed values",
    "expect_column_values_to_be_between": "{} is within its bounds",
    "expect_column_values_to_match_regex": "{} has the form of its pattern",
    "expect_column_pair_values_to_be_equal": "{} is equal to {}",
    "expect_column_pair_values_a_to_be_greater_than_b": "{} is greater than {}",
    "expect_table_row_count_to_be_between": "the number of rows is within its bounds",
    "expect_table_row_count_to_equal": "the number of rows is the one that is named",
}
NUMBER = re.compile(r"^-?\d+(\.\d+)?$")
ROWS = re.compile(r"^([\d,]+) of ([\d,]+) rows$")


@dataclass(frozen=True)
class Checked:
    """A result and the instant of its check."""

    at: datetime
    result: QualityResult


def quality_page(checked: Sequence[Checked], pages: Mapping[str, str]) -> str:
    """Return the page; `pages` maps tables to their own pages of Great Expectations."""
    tables: dict[str, list[Checked]] = {}
    for check in sorted(checked, key=lambda c: (_rank(c.result), c.result.suite, c.result.column)):
        tables.setdefault(check.result.suite, []).append(check)
    sections = "\n".join(_section(name, checks, pages.get(name, "")) for name, checks in tables.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data quality · Millrace</title><link rel="icon" href="data:,"><style>{CSS.read_text()}</style></head><body>
<header><h1>Data quality</h1>{_verdict([c.result for c in checked])}
<nav><a href="../status/index.html">Status</a><a href="../dashboards/index.html">Dashboards</a>
<a href="../dbt/index.html">Models of the marts</a></nav></header>
<main>{_figures([c.result for c in checked], len(tables))}
{sections}
</main></body></html>
"""


def _rank(result: QualityResult) -> int:
    """Return the place of a result: failures by severity, what could not be checked before what was broken."""
    if result.success:
        return 9
    return list(SEVERITIES).index(result.severity) * 2 + (not result.is_unchecked)


def _verdict(results: Sequence[QualityResult]) -> str:
    stopped = sorted({r.suite for r in results if not r.success and r.severity == STOP})
    other = [r for r in results if not r.success and r.severity != STOP]
    if stopped:
        mark, kind, text = "✗", "bad", f"Refused: {', '.join(stopped)}. Marts that depend on it stay as they were."
    elif other:
        mark, kind, text = "!", "look", "Published; something should be looked at."
    elif results:
        mark, kind, text = "✓", "good", "All expectations hold."
    else:
        mark, kind, text = "–", "soft", "Nothing was checked yet."
    return f'<p class="verdict {kind}"><b aria-hidden="true">{mark}</b><span>{_breakable(text)}</span></p>'


def _figures(results: Sequence[QualityResult], tables: int) -> str:
    failed = [r for r in results if not r.success]
    figures = [("hold", sum(r.success for r in results))]
    figures += [(words, sum(r.severity == severity for r in failed)) for severity, words in COUNTED.items()]
    figures += [("could not be checked", sum(r.is_unchecked for r in failed)), ("tables", tables)]
    return f'<ul class="figures">{"".join(f"<li><b>{n:,}</b> {words}</li>" for words, n in figures)}</ul>'


def _section(name: str, checks: Sequence[Checked], page: str) -> str:
    failed = sum(not check.result.success for check in checks)
    at = max(check.at for check in checks)
    kind = "merged rows" if "." in name else "mart"
    link = f' · <a href="{escape(page)}">details</a>' if page else ""
    state = f"{failed:,} of {len(checks):,} {'does' if failed == 1 else 'do'} not hold" if failed else "all hold"
    rows = "".join(_row(check.result) for check in checks)
    moment = f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">checked {at:%Y-%m-%d %H:%M} UTC</time>'
    return f"""<section id="{escape(name)}"><div class="head"><h2>{_breakable(name)}</h2>
<p class="soft">{kind} · {state} · {moment}{link}</p></div>
<div class="card"><table><thead><tr><th>result</th><th>expectation</th><th>observed</th></tr></thead>
<tbody>{rows}</tbody></table></div></section>"""


def _row(result: QualityResult) -> str:
    mark, kind, words = ("✓", "good", "holds") if result.success else SEVERITIES[result.severity]
    severity = f'<span class="soft">severity {result.severity}</span>'
    observed = _breakable(_observed(result.observed.removeprefix(UNCHECKED)))
    unchecked = '<b class="unchecked">could not be checked</b> ' if result.is_unchecked else ""
    samples = _breakable(", ".join(result.sample))
    sample = f'<p class="soft">for example {samples}</p>' if result.sample and not result.success else ""
    state = f'<span class="health {kind}"><b aria-hidden="true">{mark}</b>{words}</span>'
    return (
        f'<tr class="{kind}"><td>{state}{severity}</td>'
        f"<td>{_phrase(result)}</td><td>{unchecked}{observed}{sample}</td></tr>"
    )


def _phrase(result: QualityResult) -> str:
    """Return an expectation in words, with its columns."""
    columns = [f"<code>{_breakable(name)}</code>" for name in result.column.split(", ") if name]
    phrase = PHRASES.get(result.expectation)
    if phrase is None:
        plain = result.expectation.removeprefix("expect_").replace("_", " ")
        return " ".join([*columns, escape(plain)])
    places = phrase.count("{}")
    if places == len(columns):
        return phrase.format(*columns)
    return phrase.format(", ".join(columns)) if places == 1 else f"{', '.join(columns)}: {phrase.format('A', 'B')}"


def _observed(text: str) -> str:
    """Return what was observed, with separators in a number and no more digits than say something."""
    if rows := ROWS.match(text):
        broken, checked = (int(count.replace(",", "")) for count in rows.groups())
        return f"{broken:,} of {checked:,} rows {'breaks' if broken == 1 else 'break'} it"
    if not NUMBER.match(text):
        return text
    number = float(text) if "." in text else int(text)
    return f"{number:,}" if isinstance(number, int) else f"{number:,.4g}" if abs(number) < 1000 else f"{number:,.2f}"


def _breakable(text: str) -> str:
    """Return text that a browser breaks behind `_` and `.` of a name, and never within a word."""
    return re.sub(r"([_.])(?=[A-Za-z])", r"\1<wbr>", escape(text))


def page_of(results: Iterable[QualityResult], at: datetime, pages: Mapping[str, str]) -> str:
    """Return the page of the results of one check."""
    return quality_page([Checked(at, result) for result in results], pages)
