"""How often a table may be changed: BigQuery counts 1,500 modifications a day, and a stream spreads the last of them.

https://cloud.google.com/bigquery/quotas#standard_tables; of statements that change rows 2 of a table run at a time and
20 wait: a stream has one merge at a time, by its slot, and a full queue is waited for (`bigquery_jobs.is_transient`).
"""

from datetime import datetime, timedelta

from millrace.domain.errors import BudgetExceeded, WarehouseBusy

DAY = timedelta(days=1)
MOST_MODIFICATIONS = 1_500
SPREAD = 300
"""The last modifications of a day, which keep so much distance that the day's quota outlasts it."""


def admit(what: str, done: int, newest: datetime | None, now: datetime) -> None:
    """Let a table be changed once more that was changed `done` times within a day, `newest` the last time.

    Raises:
        WarehouseBusy: most of the day's quota is used up; the rest is spread over the day.
        BudgetExceeded: all of it is.
    """
    if done >= MOST_MODIFICATIONS:
        raise BudgetExceeded(
            f"{what} was changed {done} times within a day, and a table may be changed {MOST_MODIFICATIONS} times; its"
            " batch stays pending. Widen triggers.landed_window_s"
        )
    apart = DAY / SPREAD
    if newest and done >= MOST_MODIFICATIONS - SPREAD and now < newest + apart:
        raise WarehouseBusy(
            f"{what} was changed {done} times within a day, of {MOST_MODIFICATIONS}: it may be changed again at"
            f" {newest + apart:%H:%M:%S}, so that the quota outlasts the day. Widen triggers.landed_window_s"
        )
