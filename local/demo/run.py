"""`make run`: runs days of real data through the whole platform on this machine, and checks every figure."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from local.demo import source
from local.demo.airport_ops.check import Comparison, compare
from local.demo.airport_ops.replay import FIRST_DAY, LAST_DAY, day
from local.demo.day import DayFailed, DayResult, Platform, finish_open_work, take_day
from local.demo.prefect import ACTION_FAILED, PrefectApi, Run
from local.demo.say import Say
from local.stack.environment import platform_settings
from local.stack.local_stack import BUCKET, LocalStack
from local.stack.supervise import is_held
from local.stack.up import down, up
from millrace.contracts.source import load_sources
from millrace.domain import names
from millrace.domain.errors import SettingsError
from millrace.lake.open import open_lake
from millrace.project import current_project
from millrace.settings.tree import WarehouseSettings
from millrace.status.publish import collected_at
from millrace.warehouse.engines import open_warehouse
from millrace.warehouse.shown import unshown_publication

SLACK_PATIENCE_S = 15.0
PAGES_PATIENCE_S = 120.0
NOT_SHOWN = "the pages do not show the newest marts; see the newest run of `show` in Prefect"


def run(state: Path, days: int, *, leave: bool, say: Say) -> int:
    """Start the stack, run `days` more days through it, check the marts; return 0 when every figure is right.

    With `leave` the stack is stopped afterwards; else it stays up until Ctrl-C. A stack that was up before stays up.
    """
    if not source.is_used(current_project()):
        raise SettingsError(
            f"{current_project().folder} has no source {source.NAME}: `millrace run` replays days of the demo, which"
            " is the project of the platform's checkout; start your own project with `millrace up`, and one of its"
            " sources with `millrace start ingest -p source=NAME`"
        )
    began, was_up = time.monotonic(), is_held(state)
    say("Millrace on this machine: source → lake → warehouse → marts", "bold")
    stack = up(state, say, detached=False)
    try:
        code = _take_days(open_platform(stack), days, began, say)
        if not leave:
            say("The stack stays up; press Ctrl-C to stop it.", "bold")
            while True:
                time.sleep(3600)  # until Ctrl-C
        return code
    except KeyboardInterrupt:
        say(f"\n{'the stack stays up' if was_up else 'stopping the stack'}; `make run` continues from here")
        return 130
    finally:
        if not was_up:
            down(state)


def open_platform(stack: LocalStack) -> Platform:
    """Return the clients and contracts that the demonstration uses."""
    settings = platform_settings(stack)
    return Platform(
        stack=stack,
        api=PrefectApi(stack.prefect_api),
        lake=open_lake(settings["MILLRACE_LAKE__URL"], settings["MILLRACE_LAKE__ENDPOINT"]),
        warehouse=open_warehouse(
            WarehouseSettings(
                url=settings["MILLRACE_WAREHOUSE__URL"], marts_url=settings["MILLRACE_WAREHOUSE__MARTS_URL"]
            )
        ),
        source=load_sources(current_project().sources)[source.NAME],
    )


def _take_days(platform: Platform, days: int, began: float, say: Say) -> int:
    since = datetime.now(UTC)
    results: list[DayResult] = []
    first = day(platform.stack.database) + 1
    last = min(first + days - 1, LAST_DAY)
    try:
        if first > 1:
            finish_open_work(platform, first - 1, say)
        for number in range(first, last + 1):
            say(f"day {number} ({_date(number)})", "bold")
            results.append(take_day(platform, number, say))
    except DayFailed as error:
        say.error(str(error))
        links(platform.stack, say)
        return 1
    outcome = compare(platform.stack.marts, day(platform.stack.database))
    summary(results, outcome, time.monotonic() - began, say)
    wrong = problems(platform, results, outcome, since)
    if not await_pages(platform, [run_ for result in results for run_ in result.runs]):
        wrong.append(NOT_SHOWN)
    for text in wrong:
        say.error(text)
    links(platform.stack, say)
    return 1 if wrong else 0


def await_pages(platform: Platform, runs: list[Run]) -> bool:
    """Wait until pages and files show the newest marts, and the status page the end of the last model run."""
    ended = max((run_.ended for run_ in runs if run_.flow == "model" and run_.ended), default=None)
    deadline = time.monotonic() + PAGES_PATIENCE_S
    while time.monotonic() < deadline:
        page = platform.lake.stat(names.STATUS_PAGE)
        current = ended is None or (page is not None and collected_at(page) >= ended)
        if current and not unshown_publication(platform.lake, platform.warehouse):
            return True
        time.sleep(0.5)  # polls the lake
    return False


def problems(platform: Platform, results: list[DayResult], outcome: Comparison, since: datetime) -> list[str]:
    """Return every failure of the demonstration, as sentences."""
    wrong = []
    if outcome.differences:
        wrong.append("the marts differ from the original data")
    wrong += [f"{r.name} {r.state.lower()}: {r.message}" for result in results for r in result.runs if r.bad]
    for event in platform.api.events(ACTION_FAILED, since):
        payload = event.get("payload", {})
        if payload.get("action_type") == "change-flow-run-state":
            continue  # the run had ended before it could be marked as crashed
        wrong.append(f"an automation could not {payload.get('action_type', 'act')}: {payload.get('reason', 'unknown')}")
    if not wrong and not posted(platform.stack, since):
        wrong.append("no Slack message arrived; is the URL in the secret slack-webhook-url right?")
    return wrong


def posted(stack: LocalStack, since: datetime) -> bool:
    """Wait a short while for a Slack message since then; return True when one arrived."""
    deadline = time.monotonic() + SLACK_PATIENCE_S
    while time.monotonic() < deadline:
        messages = httpx.get(f"{stack.http('slack')}/messages.json", timeout=10).raise_for_status().json()
        if any(datetime.fromisoformat(m["at"]) >= since for m in messages):
            return True
        time.sleep(0.5)  # polls the inbox
    return False


def summary(results: list[DayResult], outcome: Comparison, seconds: float, say: Say) -> None:
    """Print the rows per day, the durations per flow and the outcome of the comparison."""
    say("")
    say(
        f"{'day':>4} {'landed':>9} {'merged':>9} {'superseded':>11} {'stale':>6} {'quarantined':>12} "
        f"{'landing→marts':>14} {'day':>8}",
        "bold",
    )
    for r in results:
        rows = r.rows
        say(
            f"{r.day:>4} {rows.get('landed', 0):>9,} {rows.get('merged', 0):>9,} {rows.get('superseded', 0):>11,} "
            f"{rows.get('stale', 0):>6,} {rows.get('quarantined', 0):>12,} {r.landing_to_marts_s:>12.1f} s "
            f"{r.seconds:>6.1f} s"
        )
    say("")
    steps: dict[str, list[float]] = {}
    for run_ in (run_ for r in results for run_ in r.runs):
        steps.setdefault(run_.flow, []).append(run_.seconds)
    for flow, took in steps.items():
        say(f"  {flow:<10} {len(took):>3} runs, {sum(took) / len(took):5.1f} s each")
    say(f"  {'in all':<10} {seconds:9.1f} s")
    say("")
    say(str(outcome), "red" if outcome.differences else "green")


def links(stack: LocalStack, say: Say) -> None:
    """Print the addresses of the pages and files that show the outcome."""
    site = f"{stack.http('storage')}/{BUCKET}/{names.SITE}"
    say("")
    say(f"  status       {stack.http('storage')}/{BUCKET}/{names.STATUS_PAGE}")
    say(f"  dashboards   {site}dashboards/index.html")
    say(f"  Prefect      {stack.http('prefect')}/runs")
    say(f"  Slack inbox  {stack.http('slack')}")
    say(f"  Airbyte      {stack.http('airbyte')}")
    say(f"  Data Docs    {site}quality/index.html")
    say(f"  dbt docs     {site}dbt/index.html")
    say(f"  marts        {stack.marts}")
    say("")


def _date(number: int) -> str:
    return f"{FIRST_DAY + timedelta(days=number - 1):%d %B %Y}"
