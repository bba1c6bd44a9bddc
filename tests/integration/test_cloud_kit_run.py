"""Whole runs of the kit as a person starts them, on local servers: suites, limits, signals, kills, clean-up."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.cleanup import KINDS, clean_up, leftovers
from tests.cloud.clients import Clients
from tests.cloud.journal import Journal
from tests.cloud.names import LABEL, resource_name, with_checksum
from tests.cloud.suites import SUITES, load_plan
from tests.support.dataflow_server import dataflow_server, execute
from tests.support.google_project import Cloud, cloud
from tests.support.servers import ROOT, free_port, wait_until

pytestmark = pytest.mark.slow

DEAD = with_checksum("0dead0")
KIT = [sys.executable, "-m", "tests.cloud"]
PROJECT = "shop-prod"
OF_MAKE = ("ARGS", "PROJECT", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
OUTSIDE = {name: value for name, value in os.environ.items() if name not in OF_MAKE}  # `make test ARGS=…` sets some


class Place:
    """Local servers, and the kit as a program."""

    def __init__(self, servers: Cloud, folder: Path) -> None:
        self.cloud, self.folder, self.own = servers, folder, Clients(servers.target)

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        command = [*KIT, "--project", PROJECT, "--folder", str(self.folder), *arguments]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**OUTSIDE, **self.cloud.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, **environment)
        output, errors = process.communicate(timeout=240)
        return process.returncode, output + errors

    def report(self) -> dict[str, Any]:
        """Return the newest results."""
        newest = max(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        resource: dict[str, Any] = json.loads(newest.read_text())
        return resource

    def left(self) -> list[str]:
        """Return the resources with a run's name and label."""
        return [
            f"{resource.kind}/{resource.name}"
            for kind in KINDS
            for resource in leftovers(self.own, kind)
            if resource.ours
        ]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(running.credentials))
        yield running


@pytest.fixture
def place(servers: Cloud, tmp_path: Path) -> Iterator[Place]:
    servers.google.fails.clear()
    resource = Place(servers, tmp_path / "results")
    yield resource
    clean_up(resource.own, wait_s=1)


def foreign(place: Place) -> list[str]:
    """Make resources of other people, some with names like a run's; return their names."""
    own, project = place.own, f"projects/{PROJECT}"
    ordinary, similar = "other-peoples", "millrace-smoke-production"
    unlabelled = resource_name(DEAD, "bucket", "0" * 12)
    for name in (f"{ordinary}-lake", f"{similar}-lake", unlabelled):
        own.rest("storage", "POST", "/storage/v1/b", {"name": name, "labels": {"team": "x"}}, project=PROJECT)
        own.storage.bucket(name).blob("kept").upload_from_string(b"x")
    for name in (ordinary, similar):
        own.publisher.create_topic(request={"name": f"{project}/topics/{name}", "labels": {LABEL: DEAD}})
        own.secrets.create_secret(parent=project, secret_id=name, secret={"replication": {"automatic": {}}})
    return [f"{ordinary}-lake", f"{similar}-lake", unlabelled]


def dead_run(place: Place) -> None:
    """Make what a killed run leaves: held objects, noncurrent ones, a topic, a subscription, a secret, a job."""
    label, own, project = {LABEL: DEAD}, place.own, f"projects/{PROJECT}"
    name = resource_name(DEAD, "bucket", "1" * 12)
    body = {"name": name, "labels": label, "versioning": {"enabled": True}, "retentionPolicy": {"retentionPeriod": 60}}
    own.rest("storage", "POST", "/storage/v1/b", body | {"defaultEventBasedHold": True}, project=PROJECT)
    own.storage.bucket(name).blob("held/ü").upload_from_string(b"x")
    topic = f"{project}/topics/{resource_name(DEAD, 'topic', '1' * 12)}"
    own.publisher.create_topic(request={"name": topic, "labels": label})
    subscription = f"{project}/subscriptions/{resource_name(DEAD, 'sub', '1' * 12)}"
    own.subscriber.create_subscription(request={"name": subscription, "topic": topic, "labels": label})
    secret = {"replication": {"automatic": {}}, "labels": label}
    own.secrets.create_secret(parent=project, secret_id=resource_name(DEAD, "secret", "1" * 12), secret=secret)
    dataset = {"datasetReference": {"datasetId": f"millrace_smoke_{DEAD}_ops"}, "labels": label}
    own.rest("bigquery", "POST", f"/bigquery/v2/{project}/datasets", dataset)
    job = {"id": "2026-01-01_1", "name": "merge-1", "currentState": "JOB_STATE_RUNNING", "labels": label}
    place.cloud.google.jobs["2026-01-01_1"] = job


@pytest.mark.slow
def test_suite_runs_and_leaves_nothing(place: Place) -> None:
    others = foreign(place)
    code, output = place.run("--no-checks", "--suites", "secrets")
    report = place.report()
    assert code == 0, output
    assert len(report["results"]) == load_plan()["secrets"].tests == 7
    assert (report["on"], report["state"]) == ("local servers", "ended")
    assert report["left_out"]["secrets"].keys() == next(s for s in SUITES if s.name == "secrets").left_out.keys()
    assert report["clean_up"]["proven"]
    assert "Lists of all kinds show that no resource of the run is left." in output
    assert report["clean_up"]["removed"], "the suite leaves its secrets to the clean-up"
    assert place.left() == []
    (folder,) = (path for path in place.folder.iterdir() if path.is_dir())
    calls = Counter(line["method"] for line in Journal(folder).lines() if line["step"] == "secrets")
    assert calls == load_plan()["secrets"].calls, "run `python -m tests.cloud.measure secrets`"
    buckets = {bucket.name for bucket in place.own.storage.list_buckets()}
    assert set(others) <= buckets


def test_clean_up_removes_what_a_dead_run_left(place: Place) -> None:
    dead_run(place)
    assert {name.split("/")[0] for name in place.left()} == {kind.name for kind in KINDS}
    code, output = place.run("--clean-up", "--json")
    report = json.loads(output)
    assert (code, report["clean_up"]["proven"], place.left()) == (0, True, [])
    assert {item["kind"] for item in report["clean_up"]["removed"]} == {kind.name for kind in KINDS}
    assert place.cloud.google.jobs["2026-01-01_1"]["currentState"] == "JOB_STATE_CANCELLED"


def test_clean_up_of_one_run_keeps_the_others(place: Place) -> None:
    dead_run(place)
    code, output = place.run("--clean-up", "--run", with_checksum("cafe00"))
    assert (code, len(place.left())) == (0, len(KINDS)), output


def test_foreign_resources_are_named_and_kept(place: Place) -> None:
    place.own.rest(
        "storage", "POST", "/storage/v1/b", {"name": resource_name(DEAD, "other", "2" * 12)}, project=PROJECT
    )
    code, output = place.run("--clean-up")
    assert code == 0, output
    assert f"{resource_name(DEAD, 'other', '2' * 12)} has the name of a run but not its label" in output
    assert place.own.storage.lookup_bucket(resource_name(DEAD, "other", "2" * 12)) is not None


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_run_with_a_clean_up(place: Place, how: signal.Signals) -> None:
    process = place.start("--no-checks", "--suites", "pubsub,secrets")
    wait_until(place.left, "the suite has made something", 90)
    process.send_signal(how)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 2, output + errors
    assert place.left() == []
    report = place.report()
    assert (report["state"], report["clean_up"]["proven"]) == (f"ended by {how.name}", True)


@pytest.mark.slow
def test_clean_up_after_a_kill_removes_all(place: Place) -> None:
    process = place.start("--no-checks", "--suites", "pubsub")
    wait_until(place.left, "the suite has made something", 90)
    process.kill()
    process.communicate(timeout=30)
    assert place.report()["state"] == "running"
    assert place.left()
    wait_until(lambda: suites_of(place) == [], "the suite's process has ended with the kit", 30)
    code, output = place.run("--clean-up")
    assert (code, place.left()) == (0, []), output


def suites_of(place: Place) -> list[str]:
    """Return the processes of suites that write into the folder of results."""
    resource = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "tests.cloud.plugin" in command and str(place.folder) in command:
            resource.append(command)
    return resource


def test_estimate_over_the_limit_runs_no_suite(place: Place) -> None:
    place.cloud.forget_calls()
    code, output = place.run("--no-checks", "--suites", "storage", "--max-cost", "0.0001")
    assert code == 1, output
    assert "more than the $0.00 that --max-cost allows" in output
    written = [call for call in place.cloud.calls if call.startswith(("POST", "PUT")) and call != "POST /oauth2/token"]
    assert written == []


@pytest.mark.slow
def test_used_up_limit_ends_the_suite(place: Place) -> None:
    code, output = place.run("--no-checks", "--suites", "secrets", "--max-calls", "20")
    assert (code, "more than its limit of 20" in output) == (1, True), output
    assert place.left() == []


def test_clean_up_that_is_refused_is_not_proven(place: Place) -> None:
    dead_run(place)
    place.cloud.google.fails["/DeleteTopic"] = ("PERMISSION_DENIED", "no")
    code, output = place.run("--clean-up", "--wait-s", "1")
    assert code == 1, output
    assert "can't be removed: no: the test says so" in output
    assert "is still listed" in output
    place.cloud.google.fails.clear()


@pytest.mark.slow
def test_suites_need_the_checks_of_the_caller(place: Place) -> None:
    place.cloud.google.billing = False
    try:
        code, output = place.run("--suites", "secrets", "--json")
    finally:
        place.cloud.google.billing = True
    report = json.loads(output)
    assert code == 1
    assert [r["title"] for r in report["results"] if r["area"] == "suites"] == ["need billing"]
    assert not [r for r in report["results"] if r["area"] == "secrets" and "is created" in r["title"]]
    assert place.left() == []


def test_dry_run_calls_nothing(place: Place) -> None:
    place.cloud.forget_calls()
    code, output = place.run("--dry-run", GOOGLE_APPLICATION_CREDENTIALS="/nowhere")
    assert (code, place.cloud.calls) == (0, []), output
    assert "Nothing was called." in output
    plan = load_plan()
    for name in ("storage", "pubsub", "secrets", "bigquery"):
        lines = [line for line in output.splitlines() if line.startswith(f"suite {name} ")]
        assert len(lines) == len(plan[name].calls) > 5
    assert not place.folder.exists()


def test_dry_run_refuses_what_costs_too_much(place: Place) -> None:
    code, output = place.run("--dry-run", "--json", "--max-cost", "0.0001")
    plan = json.loads(output)
    assert (code, "--max-cost" in plan["refused"]) == (1, True)
    assert plan["estimate"]["cost"] == pytest.approx(sum(row["dollars"] for row in plan["plan"]), abs=0.01)


@pytest.mark.parametrize(
    "arguments",
    [
        ["PROJECT=x; touch {file}"],
        ["PROJECT=$(shell touch {file})"],
        ["PROJECT=shop-prod", "ARGS=--domain $(shell touch {file}) --nonsense"],
        ["PROJECT=shop-prod", "ARGS=--suites `touch {file}`;touch {file}"],
    ],
)
def test_no_argument_reaches_a_shell(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "made"
    command = ["make", "cloud-smoke", *(text.format(file=file) for text in arguments)]
    process = subprocess.run(command, cwd=ROOT, env=OUTSIDE, capture_output=True, text=True, check=False, timeout=120)
    assert process.returncode == 2, process.stdout + process.stderr
    assert not file.exists()


@pytest.mark.slow
def test_dataflow_job_is_staged_and_removed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", place.cloud.target.endpoint("storage"))
    with dataflow_server(free_port()) as jobs:
        arguments = ("--no-checks", "--suites", "dataflow", "--image", "registry.test/beam:1")
        process = place.start(*arguments, MILLRACE_BEAM__DATAFLOW__ENDPOINT=jobs.url)
        wait_until(lambda: jobs.jobs or process.poll() is not None, "the job is submitted", 120)
        for job in list(jobs.jobs.values()):
            execute(job)
            jobs.end(job["id"], "DONE")
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    (job,) = jobs.jobs.values()
    run = place.report()["run"]
    assert (job["labels"][LABEL], run in job["name"]) == (run, True)
    assert job["environment"]["sdkPipelineOptions"]["options"]["max_num_workers"] == 1
    assert [r["outcome"] for r in place.report()["results"]] == ["pass"]
    assert place.left() == []
