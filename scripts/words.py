"""Measure how plain the words of the project are; fail when a figure is over its limit, which may only fall.

The limits are what well-written projects measure (httpx, docket, svcs, stamina, litestar, pangeo-forge, dlt).
`--list` prints the files with the most findings of each kind.
"""

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

VAGUE = frozenset(
    """found wanted there told made what one given why done known seen said kept things thing stuff more asked
    here""".split()  # noqa: SIM905  a list of words is easier to read
)
QUESTIONS = re.compile(r"^(What|Whether|Which|Where|Who|How|Why|Those)\b")
PRIVATE = re.compile(
    r"\b(told|tells?|mend(s|ed|ing)?|anew|beside|bears?|whatever|whoever"
    r"|what (is|was|comes|came|lands|landed|it|they|a|an|the)"
    r"|is no|are no|let in|takes? up|took up|for good|by itself|of (its|their) own|under way|is away"
    r"|as (it|they) (is|are|was|were))\b",
    re.I,
)
EXCEPTIONS = re.compile(r"# fmt" r": (?:skip|off)\b")
FENCES = re.compile(r"```.*?```", re.DOTALL)
LIMITS = {
    "vague names, % of all": 0.5,
    "docstrings that begin as a question, %": 1.0,
    "private words per 10,000 of the docs": 10.0,
    "median length of a test's name": 45.0,
    "formatter exceptions": 0.0,
}


def names(tree: ast.AST) -> Iterator[str]:
    """Yield every assigned name and parameter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def docstrings(tree: ast.AST) -> Iterator[str]:
    """Yield every docstring."""
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and (text := ast.get_docstring(node)):
            yield text


def tests(tree: ast.AST) -> Iterator[int]:
    """Yield the length of every test's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield len(node.name)


def measure(root: Path) -> tuple[dict[str, float], dict[str, Counter[str]]]:
    """Return each figure, and the number of findings by file."""
    git = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True)  # noqa: S607
    files = [name for name in git.stdout.splitlines() if (root / name).is_file()]
    findings = {figure: Counter[str]() for figure in LIMITS}
    vague, questions, private, length, exceptions = LIMITS
    totals, lengths = Counter[str](), list[int]()
    for name in (name for name in files if name.endswith(".py")):
        text = (root / name).read_text(encoding="utf-8")
        tree = ast.parse(text)
        own = [n for n in names(tree) if n not in ("self", "cls", "_")]
        totals[vague] += len(own)
        findings[vague][name] = sum(n in VAGUE for n in own)
        texts = list(docstrings(tree))
        totals[questions] += len(texts)
        findings[questions][name] = sum(bool(QUESTIONS.match(t)) for t in texts)
        lengths += tests(tree)
        findings[exceptions][name] = (
            len(re.findall(r"# fmt: (?:skip|off)\b", text)) if name != "scripts/words.py" else 0
        )
    for name in (name for name in files if name.endswith(".md") and (name.startswith("docs/") or "/" not in name)):
        text = FENCES.sub("", (root / name).read_text(encoding="utf-8"))
        totals[private] += len(re.findall(r"[A-Za-z']+", text))
        findings[private][name] = len(PRIVATE.findall(text))
    sums = {figure: sum(counts.values()) for figure, counts in findings.items()}
    return {
        vague: 100 * sums[vague] / max(1, totals[vague]),
        questions: 100 * sums[questions] / max(1, totals[questions]),
        private: 10_000 * sums[private] / max(1, totals[private]),
        length: statistics.median(lengths or [0]),
        exceptions: sums[exceptions],
    }, findings


def main() -> int:
    """Print the figures; return 1 when one is over its limit."""
    figures, findings = measure(Path(__file__).resolve().parents[1])
    for figure, value in figures.items():
        print(f"{figure:40} {value:7.1f}  limit {LIMITS[figure]:g}{'   OVER' if value > LIMITS[figure] else ''}")
        if "--list" in sys.argv:
            print(*(f"    {count:4} {name}" for name, count in findings[figure].most_common(12) if count), sep="\n")
    return int(any(value > LIMITS[figure] for figure, value in figures.items()))


if __name__ == "__main__":
    sys.exit(main())
