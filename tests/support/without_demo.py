"""A checkout in; a copy of it without the demo, whose project is empty, out."""

import shutil
import subprocess
import sys
from pathlib import Path

DEMO = (
    "sources",
    "dbt_project/models",
    "dbt_project/tests",
    "dbt_project/macros",
    "expectations",
    "dashboards",
    "docs/sources",
)
LEFT_OUT = shutil.ignore_patterns(
    ".venv*", ".git", ".millrace", ".*_cache", "__pycache__", "target", "logs", "build", "dist"
)


def copy_without_demo(checkout: Path, target: Path) -> Path:
    """Copy a checkout without what the demo's project has, and write the files that every project has."""
    shutil.copytree(checkout, target, ignore=LEFT_OUT, symlinks=True)
    for folder in DEMO:
        shutil.rmtree(target / folder)
    for folder in ("sources", "dbt_project/models/staging", "expectations/raw", "dashboards"):
        (target / folder).mkdir(parents=True)
    for git in (["init", "--quiet"], ["add", "--all"]):  # tests ask git for the platform's files
        subprocess.run(["git", *git], cwd=target, check=True)
    subprocess.run([sys.executable, "-m", "cli", "contracts", "write"], cwd=target, check=True, capture_output=True)
    return target


if __name__ == "__main__":
    copy_without_demo(Path(sys.argv[1]), Path(sys.argv[2]))
