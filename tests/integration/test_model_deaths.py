"""A model run that dies while it builds, or right after it published: the next run produces the right marts."""

import subprocess
import sys
from unittest import mock

import pytest

from tests.support.modelling import AIRLINES, AIRPORTS, Modelling, Poller, flight
from tests.support.servers import ROOT, wait_until

pytestmark = [pytest.mark.demo, pytest.mark.long]
SHOWN = """SELECT (SELECT count(*) FROM marts.fct_flights),
  (SELECT sum(scheduled) FROM marts.airline_punctuality_daily), (SELECT sum(flights) FROM marts.route_delays)"""
RUN = """
import sys
from pathlib import Path
from bench.model_run import run_model
from millrace.warehouse.duckdb.warehouse import DuckDBWarehouse
folder = Path(sys.argv[1])
warehouse = DuckDBWarehouse(f"duckdb:///{folder}/warehouse.duckdb", f"duckdb:///{folder}/published.duckdb")
run_model(warehouse, folder / "state")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Modelling:
    place = Modelling(tmp_path_factory.mktemp("deaths"))
    place.merge("airlines", *AIRLINES)
    place.merge("airports", *AIRPORTS)
    place.merge("flights", flight(1), flight(2))
    assert place.run() is not None
    return place


def test_killed_build_is_redone_and_never_visible(place: Modelling) -> None:
    poller = Poller(place.marts_file, SHOWN)
    poller.start()
    place.merge("flights", flight(3), flight(4))
    candidates = place.folder / "candidates"
    before = set(candidates.glob("*.duckdb"))
    dying = subprocess.Popen([sys.executable, "-c", RUN, str(place.folder)], cwd=ROOT)
    wait_until(lambda: set(candidates.glob("*.duckdb")) - before or dying.poll() is not None, "it builds", 120)
    dying.kill()
    assert dying.wait() == -9
    assert place.marts(SHOWN) == [(2, 2, 2)]
    assert place.run() is not None
    assert poller.end() == [[(2, 2, 2)], [(4, 4, 4)]]
    assert place.run() is None


def test_unrecorded_publication_is_repeated(place: Modelling) -> None:
    place.merge("flights", flight(5))
    with mock.patch.object(place.warehouse, "append", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        place.run()
    published = place.marts(SHOWN)
    again = place.run()
    assert again is not None
    assert published == place.marts(SHOWN)
    assert place.run() is None
