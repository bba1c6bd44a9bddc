"""The table of costs in docs/deploy.md: its sums follow from prices and manifests, its settings from Terraform."""

import re
from itertools import pairwise

import pytest
import yaml

from tests.support.servers import ROOT
from tests.unit.test_kubernetes import K8S, documents, of_kind, pod
from tests.unit.test_overlay import BYTES, CPU, amount, largest

HOURS, DAYS = 730, 30
TEXT = (ROOT / "docs" / "deploy.md").read_text().partition("\n## Cost\n")[2].partition("\n## ")[0]
# In dollars, as the page states them: pods and Cloud SQL a vCPU-hour and a GiB-hour, storage a GB-month, queries a TiB.
POD, SPOT, SQL, SQL_DISK = (0.0445, 0.0049225), (0.0133, 0.00148), (0.0413, 0.007), 0.17
STANDARD, COLD, ACTIVE, LONG_TERM, QUERY = 0.026, 0.007, 0.02, 0.01, 6.25
SITES = {
    "small": (1, 5, 1, 5),
    "medium": (50, 100, 2, 50),
    "large": (1000, 1000, 4, 0),
}  # GB, streams, minutes, GB a model


def rows() -> dict[str, list[str]]:
    """Return the cells of each row by the row's name."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("|")
    ]
    return {line[0].strip("*"): line[1:] for line in lines}


def last(cell: str) -> int:
    """Return the figure at the end of a cell."""
    return int(re.findall(r"[\d,]+", cell)[-1].replace(",", ""))


def always_on() -> tuple[float, float]:
    """Return vCPUs and GiB of the pods that always run."""
    more = yaml.safe_load_all((K8S / "overlays" / "gke" / "worker-cloud-run.yaml").read_text())
    objects = [*documents("files"), *(o for o in more if o)]
    least = {
        o["spec"]["scaleTargetRef"]["name"]: o["spec"]["minReplicas"]
        for o in of_kind(objects, "HorizontalPodAutoscaler")
    }
    cpu = memory = 0.0
    for name, workload in {o["metadata"]["name"]: o for o in of_kind(objects, "Deployment")}.items():
        count = least.get(name, workload["spec"].get("replicas", 1))
        for container in pod(workload)["containers"]:
            cpu += count * amount(container["resources"]["requests"]["cpu"], CPU)
            memory += count * amount(container["resources"]["requests"]["memory"], BYTES)
    return cpu, memory


def test_pods_that_always_run_cost_what_the_page_says() -> None:
    cpu, memory = always_on()
    unit, small, medium, large = rows()["always on: server, 2 workers, 2 gateways"]
    assert f"{cpu:g} vCPU × ${POD[0]} + {memory:g} GiB × ${POD[1]:.4f}" in unit
    sums = [HOURS * (cpu * POD[0] + memory * POD[1])] * 2 + [HOURS * (4 * POD[0] + 16 * POD[1])]
    assert [last(cell) for cell in (small, medium, large)] == [round(each) for each in sums]


def test_databases_cost_what_their_machine_does() -> None:
    (tier,) = re.findall(r'default\s+= "(db-custom-\d+-\d+)"', (ROOT / "terraform" / "variables.tf").read_text())
    main = (ROOT / "terraform" / "modules" / "database" / "main.tf").read_text()
    (disk,) = re.findall(r"disk_size\s+= (\d+)", main)
    assert "REGIONAL" in main
    _, _, cpu, memory = tier.split("-")
    each = 2 * (HOURS * (int(cpu) * SQL[0] + int(memory) / 1024 * SQL[1]) + int(disk) * SQL_DISK)
    unit, small, medium, _ = rows()["Cloud SQL, 2 × regional"]
    assert f"`{tier}`" in unit
    assert (last(small), last(medium)) == (round(2 * each),) * 2


@pytest.mark.parametrize("column", range(3))
def test_runs_queries_and_storage_follow_from_the_site(column: int) -> None:
    size, streams, minutes, model = SITES[list(SITES)[column]]
    run = largest("cpu", CPU) * SPOT[0] + largest("memory", BYTES) * SPOT[1]
    hours = 24 * (streams + 2) * minutes * DAYS / 60
    terabytes = (size * DAYS * 3 + model * 24 * DAYS) * 1e9 / 2**40
    year = 365 * size
    expected = {
        "flow runs (spot)": hours * run,
        "BigQuery queries": terabytes * QUERY + (0 if model else 2900),
        "BigQuery storage, a year's data": year * (ACTIVE if column < 2 else (ACTIVE + LONG_TERM) / 2),
        "lake, a year's data": size * (90 * STANDARD + 275 * COLD),
    }
    cells = {name: last(rows()[name][1 + column]) for name in expected}
    assert cells == {name: round(value) for name, value in expected.items()}


def test_month_is_the_sum_of_its_lines() -> None:
    table = rows()
    for column in range(1, 4):
        lines = [cells[column] for name, cells in table.items() if name not in ("", "---", "a month")]
        total, said = sum(last(cell) for cell in lines), last(table["a month"][column].strip("*"))
        assert abs(total - said) <= max(5, said * 0.01), (total, said)
    assert all(a < b for a, b in pairwise(last(cell.strip("*")) for cell in table["a month"][1:]))


def test_lake_grows_cold_when_the_page_says() -> None:
    lake = (ROOT / "terraform" / "modules" / "lake" / "main.tf").read_text()
    assert re.search(r"age\s+= 90\s.*?COLDLINE", lake, re.DOTALL)
    assert "after 90 days" in TEXT
