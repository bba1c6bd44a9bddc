"""What is made from contracts: `python -m millrace.contracts write | check | release`.

`write` makes every file that follows from `sources/*.yaml`, `check` says which are stale and refuses changes that break
a released contract, `release` makes the present contracts the released ones.
"""

import argparse
import sys
from pathlib import Path

from millrace.contracts.dbt_sources import good_rows_macro, sources_yaml
from millrace.contracts.pages import source_page
from millrace.contracts.raw_suites import raw_suite
from millrace.contracts.released import FOLDER, refuse_breaking, snapshot
from millrace.contracts.schema import text as schema_text
from millrace.contracts.source import load_sources
from millrace.domain.errors import ContractError

ROOT = Path(__file__).resolve().parents[2]
SUITES, PAGES = "expectations/raw", "docs/sources"
MADE = "# Made from sources/*.yaml by `python -m millrace.contracts write`; change those.\n"


def made_files(root: Path) -> dict[Path, str]:
    """Every file that follows from the contracts, with what it should hold. Raises ContractError."""
    sources = load_sources(root / "sources")
    files = {
        root / "millrace/contracts/source.schema.json": schema_text(),
        root / "dbt_project/models/staging/_sources.yml": MADE + sources_yaml(sources.values()),
        root / "dbt_project/macros/_good_rows.sql": good_rows_macro(sources.values()),
    }
    for source in sources.values():
        files[root / PAGES / f"{source.source}.md"] = source_page(source)
        for stream in source.streams.values():
            if suite := raw_suite(stream):
                files[root / SUITES / f"{stream.id}.yaml"] = MADE + suite
    return files


def stale(root: Path) -> list[Path]:
    """Files that are not what the contracts say, those that no contract makes any more included."""
    made = made_files(root)
    wrong = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    return sorted([*wrong, *_leftovers(root, set(made))])


def _leftovers(root: Path, made: set[Path]) -> list[Path]:
    return [path for folder in (SUITES, PAGES) for path in (root / folder).glob("*") if path not in made]


def write(root: Path) -> list[Path]:
    """Make all files as the contracts say; returns those that changed."""
    changed, made = stale(root), made_files(root)
    for path in changed:
        if path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path])
        else:
            path.unlink()
    return changed


def check(root: Path) -> None:
    """Raise ContractError when a file is stale, or a contract breaks what was released."""
    refuse_breaking(root / "sources")
    if wrong := stale(root):
        names = ", ".join(path.relative_to(root).as_posix() for path in wrong)
        raise ContractError(f"not what sources/*.yaml say: {names}; run `python -m millrace.contracts write`")


def release(root: Path) -> list[Path]:
    """Make the present contracts the released ones; returns the files that changed. Raises ContractError as `check`."""
    refuse_breaking(root / "sources")
    folder = root / "sources" / FOLDER
    folder.mkdir(exist_ok=True)
    texts = {folder / f"{s.source}.yaml": snapshot(s) for s in load_sources(root / "sources").values()}
    changed = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.write_text(texts[path])
    return changed


def main() -> int:
    """Do one of them; 1 when a contract is wrong, stale or broken."""
    parser = argparse.ArgumentParser(prog="python -m millrace.contracts", description=__doc__)
    parser.add_argument("command", choices=("write", "check", "release"))
    parser.add_argument("--root", type=Path, default=ROOT, help="top of the checkout")
    options = parser.parse_args()
    try:
        if options.command == "check":
            check(options.root)
            return 0
        for path in (write if options.command == "write" else release)(options.root):
            print(path.relative_to(options.root))
    except ContractError as error:
        print(f"ContractError: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
