"""BigQuery's quota of 1,500 modifications of a table a day: a count in, an error out when the next one must wait.

https://cloud.google.com/bigquery/quotas#standard_tables. Two statements that change a table run at a time and 20 wait:
a stream has one merge at a time, by its slot, and a full queue is retried (`jobs.is_transient`).
"""

from datetime import datetime, timedelta

from millrace.domain.errors import BudgetExceeded, WarehouseBusy

DAY = timedelta(days=1)
MOST_MODIFICATIONS = 1_500
SPREAD = 300
"""The last modifications of a day, which are spread evenly so that the quota lasts the whole day."""


def admit(stream: str, changes: int, newest: datetime | None, now: datetime) -> None:
    """Raise an error when a table must not be changed now, after `changes` within a day, the last one at `newest`.

    Raises:
        WarehouseBusy: most of the day's quota is used up; the rest is spread over the day.
        BudgetExceeded: the whole quota is used up.
    """
    if changes >= MOST_MODIFICATIONS:
        raise BudgetExceeded(
            f"{stream} was changed {changes} times within a day, and a table may be changed {MOST_MODIFICATIONS} times;"
            " its batch stays pending. Widen triggers.landed_window_s"
        )
    interval = DAY / SPREAD
    if newest and changes >= MOST_MODIFICATIONS - SPREAD and now < newest + interval:
        raise WarehouseBusy(
            f"{stream} was changed {changes} times within a day, of {MOST_MODIFICATIONS}: it may be changed again at"
            f" {newest + interval:%H:%M:%S}, so that the quota lasts the whole day. Widen triggers.landed_window_s"
        )
