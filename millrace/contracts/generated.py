"""Contracts in; files that follow from them, the check that these are up to date, and released contracts out."""

from pathlib import Path

from millrace.contracts.dbt_sources import good_rows_macro, sources_yaml
from millrace.contracts.pages import source_page
from millrace.contracts.raw_suites import raw_suite
from millrace.contracts.released import FOLDER, check_released, snapshot
from millrace.contracts.schema import text as schema_text
from millrace.contracts.source import load_sources
from millrace.domain.errors import ContractError
from millrace.project import CHECKOUT

SUITES, PAGES = "expectations/raw", "docs/sources"
SCHEMA = "millrace/contracts/source.schema.json"
DBT = Path(__file__).with_name("dbt")  # what every dbt project of the platform has: profile, macros, generic tests
HEADER = "# Generated from sources/*.yaml by `millrace contracts write`; edit those.\n"


def generated_files(root: Path) -> dict[Path, str]:
    """Return every file that follows from the contracts, with its text. Raises ContractError."""
    sources = load_sources(root / "sources")
    files = {
        root / "dbt_project" / path.relative_to(DBT): path.read_text() for path in DBT.rglob("*") if path.is_file()
    }
    if root == CHECKOUT:
        files[root / SCHEMA] = schema_text()
    files |= {
        root / "dbt_project/models/staging/_sources.yml": HEADER + sources_yaml(sources.values()),
        root / "dbt_project/macros/_good_rows.sql": good_rows_macro(sources.values()),
    }
    for source in sources.values():
        files[root / PAGES / f"{source.source}.md"] = source_page(source)
        for stream in source.streams.values():
            if suite := raw_suite(stream):
                files[root / SUITES / f"{stream.id}.yaml"] = HEADER + suite
    return files


def stale(root: Path) -> list[Path]:
    """Return the files that differ from the contracts, and those of contracts that no longer exist."""
    files = generated_files(root)
    different = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    return sorted([*different, *_leftovers(root, set(files))])


def _leftovers(root: Path, files: set[Path]) -> list[Path]:
    return [path for folder in (SUITES, PAGES) for path in (root / folder).glob("*") if path not in files]


def write(root: Path) -> list[Path]:
    """Write all files that are stale; return them."""
    changed, files = stale(root), generated_files(root)
    for path in changed:
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()
    return changed


def check(root: Path) -> None:
    """Raise ContractError when a file is stale, or a contract breaks its released version."""
    check_released(root / "sources")
    if paths := stale(root):
        names = ", ".join(path.relative_to(root).as_posix() for path in paths)
        raise ContractError(f"stale, compared with sources/*.yaml: {names}; run `millrace contracts write`")


def release(root: Path) -> list[Path]:
    """Release the present contracts; return the files that changed. Raises ContractError as `check` does."""
    check_released(root / "sources")
    folder = root / "sources" / FOLDER
    folder.mkdir(exist_ok=True)
    texts = {folder / f"{s.source}.yaml": snapshot(s) for s in load_sources(root / "sources").values()}
    changed = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.write_text(texts[path])
    return changed
