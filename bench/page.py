"""The name of a measurement and its table in; the same section of docs/benchmarks.md, written anew, out."""

import re

from millrace.project import CODE

PAGE = CODE / "docs" / "benchmarks.md"


def record(name: str, text: str) -> None:
    """Replace what stands between the marks of a measurement."""
    between = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    PAGE.write_text(between.sub(lambda match: match[1] + text + match[2], PAGE.read_text()))
