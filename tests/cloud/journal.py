"""What a run does, a line each, written before it is done, so that a killed run leaves its traces."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.cloud.budget import Use

NAME = "calls.jsonl"


class Journal:
    """The calls of a run, of all its processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()

    def note(self, step: str, method: str, resource: str, tables: int = 0) -> None:
        """Write a call that is about to be sent."""
        line = {"at": datetime.now(UTC).isoformat(), "step": step, "method": method, "resource": resource}
        data = json.dumps(line | ({"tables": tables} if tables else {})).encode() + b"\n"
        with self._lock:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the calls so far; the last line of a killed process may be half written."""
        if not self.path.exists():
            return
        for text in self.path.read_text().splitlines():
            try:
                yield json.loads(text)
            except ValueError:
                continue

    def use(self, step: str | None = None) -> Use:
        """Return what all calls used, or those of a step."""
        total = Use()
        for line in self.lines():
            if step is None or line["step"] == step:
                total = total.plus(line["method"], int(line.get("tables", 0)))
        return total
