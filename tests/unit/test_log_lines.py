"""The formatter: every record becomes one line of JSON that Cloud Logging parses as intended."""

import ast
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.observability.lines import LABELS, CloudLines
from tests.support.log_filter import compile_filter
from tests.support.servers import ROOT
from tests.unit.test_style import python, python_files

VOCABULARY = set(yaml.safe_load((ROOT / "millrace" / "observability" / "events.yaml").read_text()))
PLATFORM = ("millrace", "blocks", "beam_job", "tasks", "flows", "cli")


def line(**attributes: Any) -> dict[str, Any]:
    record_attributes = {"name": "tasks.x", "levelno": logging.INFO, "levelname": "INFO", "msg": "said"} | attributes
    text = CloudLines().format(logging.makeLogRecord(record_attributes))
    assert "\n" not in text
    return dict(json.loads(text))


def test_line_has_event_fields_and_run_labels() -> None:
    entry = line(
        event="merge.committed", fields={"merged": 3, "stream": "shop.orders"}, flow_run_id="r", flow_name="merge"
    )
    assert entry.items() >= {"severity": "INFO", "message": "said", "event": "merge.committed", "merged": 3}.items()
    assert entry[LABELS] == {"flow_run_id": "r", "flow_name": "merge"}


def test_fields_cannot_replace_google_fields() -> None:
    entry = line(event="x", fields={"severity": "EMERGENCY", "message": "forged", "time": 0, LABELS: {}, "own": 1})
    assert (entry["severity"], entry["message"], entry["own"]) == ("INFO", "said", 1)
    assert LABELS not in entry


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"msg": "%s of %d", "args": ("a",)}, "%s of %d ('a',)"),
        ({"msg": "two\nlines"}, "two\nlines"),
        ({"msg": "x" * 100_000}, "x" * 60_000),
        ({"fields": {"it": Unprintable(), "set": {1}}}, "said"),
    ],
    ids=["arguments", "lines", "long", "unprintable"],
)
def test_every_record_becomes_one_line(attributes: dict[str, Any], message: str) -> None:
    assert line(**attributes)["message"] == message


def test_exception_is_logged_with_its_traceback() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        entry = line(exc_info=sys.exc_info(), levelname="ERROR")
    assert entry["exception"].startswith("Traceback")
    assert entry["severity"] == "ERROR"


def test_prefect_logging_config_has_all_loggers(tmp_path: Path) -> None:
    """Runs Prefect in a subprocess, as logging is set up once per process."""
    program = """
import json, logging, sys
from prefect.logging.configuration import load_logging_config, setup_logging, DEFAULT_LOGGING_SETTINGS_PATH
from prefect.settings import PREFECT_LOGGING_SETTINGS_PATH
ours = load_logging_config(PREFECT_LOGGING_SETTINGS_PATH.value())
theirs = load_logging_config(DEFAULT_LOGGING_SETTINGS_PATH)
assert set(ours["loggers"]) >= set(theirs["loggers"]), set(theirs["loggers"]) - set(ours["loggers"])
setup_logging()
[handler] = logging.getLogger().handlers
handler.setStream(sys.stdout)
logging.getLogger("tasks.x").info("fact", extra={"event": "run.handed_over", "fields": {"slot": "model"}})
logging.getLogger("tasks.x").debug("not told")
"""
    output = python(
        program,
        tmp_path,
        PREFECT_HOME=str(tmp_path),
        PYTHONPATH=str(ROOT),
        PREFECT_LOGGING_SETTINGS_PATH=str(ROOT / "millrace" / "observability" / "logging.yaml"),
        PREFECT_LOGGING_TO_API_ENABLED="0",
    )
    assert json.loads(output).items() >= {"event": "run.handed_over", "slot": "model", "logger": "tasks.x"}.items()


def emitted() -> dict[str, str]:
    """Return the events that the code logs, with their files."""
    from millrace.domain import names

    events = {}
    for path in python_files(*PLATFORM):
        for node in ast.walk(ast.parse(path.read_text())):
            for value in _events(node):
                for word in [
                    n.value for n in ast.walk(value) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]:
                    events[word] = path.relative_to(ROOT).as_posix()
                if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id == "names":
                    events[str(getattr(names, value.attr))] = path.relative_to(ROOT).as_posix()
    return {word: file for word, file in events.items() if "." in word}


def _events(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "event"]
    if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ("_log", "self._log"):
        return [node.args[0]]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "log_event":
        return [*node.args[:1], *node.args[2:3]]  # (event, …) in the gateway, (log, level, event, …) elsewhere
    if isinstance(node, ast.Assign) and any(
        "event" in re.findall(r"\w+", ast.unparse(target)) for target in node.targets
    ):
        return [node.value]
    return []


def test_every_logged_event_is_in_the_vocabulary() -> None:
    events = emitted()
    assert {"merge.committed", "gateway.refused", "merge.replacement_blocked", "quarantine.file"} <= set(events)
    unknown = {word: file for word, file in events.items() if word not in VOCABULARY}
    assert unknown == {}, "add them to millrace/observability/events.yaml"


def test_every_event_of_an_alert_is_logged() -> None:
    metrics = yaml.safe_load((ROOT / "millrace" / "observability" / "alerts.yaml").read_text())["metrics"]
    later = {"gateway.unauthenticated"}
    words = {w for m in metrics.values() for w in VOCABULARY if f'"{w}"' in m["filter"]}
    assert len(words) > 8
    assert words - set(emitted()) - later == set()


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('jsonPayload.a="x"', True),
        ('jsonPayload.a="y"', False),
        ('NOT jsonPayload.a="y" AND jsonPayload.n>2', True),
        ("jsonPayload.n>=4 OR severity>=ERROR", False),
        ('jsonPayload.a=("y" OR "x")', True),
        ('jsonPayload.b!="z"', True),
        ("jsonPayload.b=0", False),
        ('jsonPayload.a=~"^x$" AND (jsonPayload.n=3 OR jsonPayload.n=4)', True),
        ("jsonPayload.t=true", True),
        ('labels.flow_name="f"', True),
    ],
)
def test_filters_match_as_in_cloud_logging(text: str, fits: bool) -> None:
    entry = {"severity": "WARNING", "a": "x", "n": 3, "t": True, LABELS: {"flow_name": "f"}}
    assert compile_filter(text)(entry) is fits


@pytest.mark.parametrize("text", ['a="b', 'jsonPayload.a="b" jsonPayload.c="d"', '(jsonPayload.a="b"'])
def test_invalid_filter_is_rejected(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        compile_filter(text)({})
