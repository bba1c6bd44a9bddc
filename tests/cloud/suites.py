"""The conformance suites that a run executes on a project: their files, what is left out and why, and their results."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cloud.budget import Limits, Use
from tests.cloud.checks.check import Outcome, Result
from tests.cloud.discovery import Json
from tests.cloud.methods import LEAST_QUERY_BYTES, PER_TIB_QUERY
from tests.cloud.target import FOLDER, LIMITS, RUN, Target
from tests.support.servers import ROOT

STEP, DATASETS, IMAGE, PARENT = (f"MILLRACE_SMOKE_{name}" for name in ("STEP", "DATASETS", "IMAGE", "PARENT"))
PLAN = Path(__file__).with_name("plan.json")
TEST_TIMEOUT_S = 1200
STOP_S = 20

OF_SERVER = "it starts or kills a server of this machine"
COUNTS = "it counts messages that are due at once, and Google's Pub/Sub may deliver fewer at a time"


@dataclass(frozen=True)
class Suite:
    """Test files; `left_out` are their tests that only make sense on a local server, with the reason."""

    name: str
    title: str
    files: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


SUITES = (
    Suite(
        "storage",
        "Cloud Storage",
        ("tests/integration/test_storage_conformance.py",),
        {
            "test_locked_retention_policy_only_grows": "a bucket with a locked policy can't be removed for two hours",
            "test_lifecycle_rules_delete_matching_objects": "it lets days pass, on the index of the local server",
            "test_lifecycle_rule_spares_held_objects": "it lets days pass, on the index of the local server",
            "test_signed_url_allows_only_its_request": "it signs with the key of the local identity",
            "test_older_index_version_is_migrated": OF_SERVER,
        },
    ),
    Suite(
        "pubsub",
        "Pub/Sub",
        ("tests/integration/test_pubsub_conformance.py",),
        {
            "test_stream_respects_max_outstanding_messages": COUNTS,
            "test_stream_respects_max_outstanding_bytes": COUNTS,
            "test_waiting_ordering_key_delays_no_other": COUNTS,
            "test_publish_times_grow_with_the_ids": COUNTS,
        },
    ),
    Suite(
        "secrets",
        "Secret Manager",
        ("tests/integration/test_secret_manager.py",),
        {
            "test_lists_of_secrets_are_paged_to_their_end": "it makes secrets in a project that does not exist",
            "test_restart_keeps_all_but_destroyed_values": OF_SERVER,
            "test_kill_amid_writes_loses_no_version": OF_SERVER,
        },
    ),
    Suite(
        "bigquery",
        "BigQuery",
        (
            "tests/integration/test_warehouse_conformance.py",
            "tests/integration/test_change_conformance.py",
            "tests/integration/test_model_conformance.py",
        ),
    ),
    Suite("dataflow", "Dataflow", ("tests/cloud/dataflow_job.py",)),
)


def suite_of(name: str) -> Suite:
    """Return a suite by name."""
    return next(suite for suite in SUITES if suite.name == name)


@dataclass(frozen=True)
class Planned:
    """Calls by method, and tables that queries name, as counted on local servers in `counted` of a suite's tests."""

    calls: Mapping[str, int]
    tables: int
    tests: int
    counted: int

    @property
    def use(self) -> Use:
        """Return what the calls use."""
        scanned = self.tables * LEAST_QUERY_BYTES
        total = Use(scanned_bytes=scanned, cost=scanned / 1024**4 * PER_TIB_QUERY)
        for method, times in self.calls.items():
            total = total.add(Use().plus(method, times=times))
        return total


def load_plan(path: Path = PLAN) -> dict[str, Planned]:
    """Return the plan of each suite, for all of its tests."""
    return {name: _whole(Planned(**plan)) for name, plan in json.loads(path.read_text()).items()}


def _whole(planned: Planned) -> Planned:
    """Return a plan for all tests of a suite, of which some were counted."""
    times = planned.tests / planned.counted
    calls = {method: math.ceil(count * times) for method, count in planned.calls.items()}
    return Planned(calls, math.ceil(planned.tables * times), planned.tests, planned.counted)


@dataclass(frozen=True)
class Ran:
    """A suite's outcome: its results by test, and the tests that were left out with their reasons."""

    suite: Suite
    results: tuple[Result, ...]


def run_suite(
    suite: Suite,
    target: Target,
    run: str,
    folder: Path,
    limits: Limits,
    *,
    datasets: list[str],
    image: str = "",
    only: str = "",
) -> Ran:
    """Execute a suite's tests in a process of their own, whose calls pass the guard and which ends with this one."""
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"{suite.name}.xml"
    own = {RUN: run, FOLDER: str(folder), LIMITS: limits.dump(), STEP: suite.name, PARENT: str(os.getpid())}
    own |= {DATASETS: json.dumps(datasets), IMAGE: image, "MILLRACE_SLOW": "1", "MILLRACE_TEST_BIGQUERY": "yes"}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "-p", "tests.cloud.plugin"]
    command += [f"--timeout={TEST_TIMEOUT_S}", f"--junitxml={report}", *suite.files]
    command += ["-k", only] if only else []
    with (folder / f"{suite.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **target.environment(), **own},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a signal of the terminal is for the kit, which then ends this process
        )
    try:
        process.wait()
    finally:
        stop(process)
    return Ran(suite, tuple(results_of(suite, report, process.returncode, folder / f"{suite.name}.log")))


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a suite's process and the processes that it started."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


def results_of(suite: Suite, report: Path, code: int, log: Path) -> list[Result]:
    """Return a result for each test, and one for the suite when it did not run to its end."""
    results = [_result(suite, case) for case in _cases(report)]
    if code not in (0, 1) or not results:
        last = " ".join(log.read_text(errors="replace").split()[-40:]) if log.exists() else ""
        message = f"The suite did not run to its end (pytest ended with {code}): {last}"
        results.append(Result(suite.name, "the whole suite", "unknown", message, f"read {log}"))
    return results


def _cases(report: Path) -> list[ET.Element]:
    try:
        return list(ET.parse(report).iter("testcase"))
    except (OSError, ET.ParseError):
        return []


def _result(suite: Suite, case: ET.Element) -> Result:
    name = re.sub(r"\[(stand-in|bigquery)\]", "", case.get("name", ""))  # in a run these are Google's
    title = name.removeprefix("test_").replace("_", " ")
    outcome: Outcome = "pass"
    message, repair = "It holds.", ""
    for kind in ("failure", "error", "skipped"):
        problem = case.find(kind)
        if problem is not None:
            outcome = "unknown" if kind == "skipped" else "fail"
            message = " ".join((problem.get("message") or kind).split())[:500]
            repair = "see the suite's log" if kind != "skipped" else "make what the reason names"
    return Result(suite.name, title, outcome, message, repair)


def planned_json(calls: Mapping[str, int], tables: int, tests: int, counted: int) -> Json:
    """Return a suite's plan as `plan.json` has it."""
    return {"calls": dict(sorted(calls.items())), "tables": tables, "tests": tests, "counted": counted}
