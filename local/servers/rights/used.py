"""Which tests use which permission of which account: a file that the tests write and compare with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("used.yaml")
HEAD = "# Permissions that tests use, by scenario and account. Written by the tests, with MILLRACE_RIGHTS_RECORD=yes.\n"
Used = dict[str, dict[str, list[str]]]


def read_used(file: Path = FILE) -> Used:
    """Return the permissions by scenario and account."""
    values: Any = yaml.safe_load(file.read_text()) if file.exists() else {}
    return dict(values or {})


def record(scenario: str, used: Mapping[str, set[str]], file: Path = FILE) -> None:
    """Replace what one scenario uses."""
    all_used = read_used(file) | {scenario: {role: sorted(names) for role, names in sorted(used.items())}}
    file.write_text(HEAD + yaml.safe_dump(dict(sorted(all_used.items())), sort_keys=False))


def unrecorded(scenario: str, used: Mapping[str, set[str]], file: Path = FILE) -> dict[str, set[str]]:
    """Return what a scenario uses now, by account, and the file lacks."""
    recorded = read_used(file).get(scenario, {})
    new = {role: names - set(recorded.get(role, ())) for role, names in used.items()}
    return {role: names for role, names in new.items() if names}
