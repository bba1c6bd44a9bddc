"""The formatter: whatever is logged, one line of JSON comes out that Cloud Logging reads as meant."""

import ast
import json
import logging
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
    given = {"name": "tasks.x", "levelno": logging.INFO, "levelname": "INFO", "msg": "said"} | attributes
    text = CloudLines().format(logging.makeLogRecord(given))
    assert "\n" not in text
    return dict(json.loads(text))


def test_a_fact_has_its_event_and_fields_at_the_top_and_the_run_as_labels() -> None:
    made = line(
        event="merge.committed", fields={"merged": 3, "stream": "shop.orders"}, flow_run_id="r", flow_name="merge"
    )
    assert made.items() >= {"severity": "INFO", "message": "said", "event": "merge.committed", "merged": 3}.items()
    assert made[LABELS] == {"flow_run_id": "r", "flow_name": "merge"}


def test_fields_can_not_take_the_place_of_what_google_reads() -> None:
    made = line(event="x", fields={"severity": "EMERGENCY", "message": "forged", "time": 0, LABELS: {}, "own": 1})
    assert (made["severity"], made["message"], made["own"]) == ("INFO", "said", 1)
    assert LABELS not in made


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
def test_a_line_comes_out_of_whatever_is_logged(attributes: dict[str, Any], message: str) -> None:
    assert line(**attributes)["message"] == message


def test_an_exception_is_told_with_its_traceback() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        made = line(exc_info=sys.exc_info(), levelname="ERROR")
    assert made["exception"].startswith("Traceback")
    assert made["severity"] == "ERROR"


def test_prefects_logging_is_ours_and_its_loggers_are_all_there(tmp_path: Path) -> None:
    """Prefect itself is asked, in a process of its own: logging is set up once."""
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
    said = python(
        program,
        tmp_path,
        PREFECT_HOME=str(tmp_path),
        PYTHONPATH=str(ROOT),
        PREFECT_LOGGING_SETTINGS_PATH=str(ROOT / "millrace" / "observability" / "logging.yaml"),
        PREFECT_LOGGING_TO_API_ENABLED="0",
    )
    assert json.loads(said).items() >= {"event": "run.handed_over", "slot": "model", "logger": "tasks.x"}.items()


def emitted() -> dict[str, str]:
    """Events that the code logs, with the file: values of `event` in an `extra`, and what `tell` is told."""
    from millrace.domain import names

    found = {}
    for path in python_files(*PLATFORM):
        for node in ast.walk(ast.parse(path.read_text())):
            for value in _events(node):
                for word in [
                    n.value for n in ast.walk(value) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]:
                    found[word] = path.relative_to(ROOT).as_posix()
                if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id == "names":
                    found[str(getattr(names, value.attr))] = path.relative_to(ROOT).as_posix()
    return {word: file for word, file in found.items() if "." in word}


def _events(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "event"]
    if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ("_log", "tell", "self._tell"):
        return [node.args[0]]
    if isinstance(node, ast.Assign) and any("event" in ast.unparse(target) for target in node.targets):
        return [node.value]
    return []


def test_every_event_that_is_logged_is_in_the_vocabulary() -> None:
    told = emitted()
    assert {"merge.committed", "gateway.refused", "merge.replacement_blocked", "quarantine.file"} <= set(told)
    unknown = {word: file for word, file in told.items() if word not in VOCABULARY}
    assert unknown == {}, "add them to millrace/observability/events.yaml"


def test_every_event_that_an_alert_waits_for_is_logged() -> None:
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
def test_filters_mean_what_cloud_logging_means(text: str, fits: bool) -> None:
    given = {"severity": "WARNING", "a": "x", "n": 3, "t": True, LABELS: {"flow_name": "f"}}
    assert compile_filter(text)(given) is fits


@pytest.mark.parametrize("text", ['a="b', 'jsonPayload.a="b" jsonPayload.c="d"', '(jsonPayload.a="b"'])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        compile_filter(text)({})
