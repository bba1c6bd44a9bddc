"""The local stack's Prefect server is idle for less of a core than Prefect's own settings make it."""

from datetime import timedelta

from docket import Docket, Worker

from local.stack.prefect_server import look_less_often


def test_background_services_look_for_work_once_a_second() -> None:
    before = Worker.__init__
    try:
        look_less_often()
        worker = Worker(Docket("test", "memory://test"))
    finally:
        Worker.__init__ = before  # type: ignore[method-assign]
    assert (worker.minimum_check_interval, worker.scheduling_resolution) == (timedelta(seconds=1),) * 2
