"""The generated reference of settings, events and tables equals the code."""

import subprocess
import sys

import yaml

from millrace.settings.tree import Settings
from tests.support.servers import ROOT

PAGE = ROOT / "docs" / "reference.md"


def test_reference_is_as_the_code() -> None:
    program = "import runpy; print(runpy.run_path('scripts/reference.py')['page'](), end='')"
    made = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == PAGE.read_text(), "stale: run `python scripts/reference.py`"


def test_reference_names_every_section_and_event() -> None:
    text = PAGE.read_text()
    events = yaml.safe_load((ROOT / "millrace" / "observability" / "events.yaml").read_text())
    assert [name for name in Settings.model_fields if f"### `[{name}]`" not in text] == []
    assert [name for name in events if f"| `{name}` |" not in text] == []
    assert "| `ops.ledger` | seq bigint" in text
