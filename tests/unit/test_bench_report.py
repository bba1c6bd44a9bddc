"""The report of the merge's benchmark: figures of the runs, goals met or missed, a plot, and the results kept."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from bench.merge import peers
from bench.merge.goals import PEAK_BYTES, judge
from bench.merge.peers import DLT, ELEMENT, OURS, RAW
from bench.merge.plot import draw
from bench.merge.report import BEGIN, END, insert, report, write_report
from bench.merge.results import Result, Run, keep, load
from bench.merge.scenarios import SCENARIOS


def result(scenario: str, peer: str, cpu_s: float, peak_bytes: int = 10**9, **overrides: object) -> Result:
    size = {s.name: s.batch.rows for s in SCENARIOS}[scenario]
    runs = tuple(Run(cpu_s * factor, cpu_s, cpu_s + 3, cpu_s + 4, peak_bytes) for factor in (0.5, 1.0, 7.0))
    defaults = {"machine": "2 cores", "versions": "duckdb 2", "command": "python -m bench.merge", "day": "2026-01-01"}
    return Result(scenario, peer, size, runs=runs, **defaults | overrides)  # type: ignore[arg-type]


def figures(*results: Result) -> dict[tuple[str, str], Result]:
    return {(r.scenario, r.peer): r for r in results}


def judged(*results: Result) -> dict[str, tuple[str, bool]]:
    return {o.text: (o.figure, o.met) for o in judge(figures(*results))}


def test_figure_is_the_median_and_memory_the_peak() -> None:
    r = result("1M-into-10M", OURS, 4.0)
    assert (r.cpu_s, r.wall_s, r.process_cpu_s, r.process_wall_s) == (4.0, 4.0, 7.0, 8.0)
    assert replace(r, runs=(*r.runs, replace(r.runs[0], peak_bytes=5))).peak_bytes == 10**9


@pytest.mark.parametrize(
    ("peer", "theirs", "ours", "expected"),
    [
        (RAW, 5.0, 6.5, ("1.30", True)),
        (RAW, 5.0, 6.6, ("1.32", False)),
        (DLT, 8.1, 5.0, ("1.62", True)),
        (DLT, 7.9, 5.0, ("1.58", False)),
        (ELEMENT, 100.0, 5.0, ("20.00", True)),
        (ELEMENT, 99.0, 5.0, ("19.80", False)),
    ],
)
def test_goal_is_met_or_missed_by_the_figures(
    peer: str, theirs: float, ours: float, expected: tuple[str, bool]
) -> None:
    judgements = judged(result("1M-into-10M", OURS, ours), result("1M-into-10M", peer, theirs))
    (text,) = (text for text in judgements if text.startswith("1M-into-10M"))
    assert judgements[text] == expected


def test_work_per_row_may_grow_by_a_third() -> None:
    small = result("1M-into-10M", OURS, 5.0)
    assert ("1.30", True) in judged(small, result("10M-into-10M", OURS, 65.0)).values()
    assert ("1.40", False) in judged(small, result("10M-into-10M", OURS, 70.0)).values()


def test_work_is_constant_as_partitions_grow() -> None:
    small = result("recent-into-1M", OURS, 2.0)
    assert ("1.10", True) in judged(small, result("recent-into-10M", OURS, 2.2)).values()
    assert ("4.00", False) in judged(small, result("recent-into-10M", OURS, 8.0)).values()


def test_highest_peak_decides_on_memory() -> None:
    low, high = result("hot-key", OURS, 1.0, PEAK_BYTES - 1), result("2GB-file", OURS, 1.0, PEAK_BYTES)
    assert judged(low) == {"Peak memory under 2 GB in all 1 scenarios measured": ("2,000 MB in hot-key", True)}
    assert ("2,000 MB in 2GB-file", False) in judged(low, high).values()
    assert judged(result("2GB-file", RAW, 1.0, PEAK_BYTES)) == {}


def test_report_has_only_the_measurements() -> None:
    text = report(figures(result("1M-into-10M", OURS, 9.0), result("1M-into-10M", RAW, 5.0)))
    assert "| **1M-into-10M**: 1M rows in 10 files of Parquet into 10M | ours | 9.00 | 9.00 | 12.0 | 13.0 |" in text
    assert "|  | raw DuckDB, tuned | 5.00 |" in text
    assert "1.3 times that of raw DuckDB, tuned: 1.80, **not met**" in text
    assert "`python -m bench.merge` on 2026-01-01; 2 cores; duckdb 2; medians of 3 interleaved runs" in text
    assert "| dlt |" not in text
    assert "10M-into-10M" not in text
    assert report({}) == "No results yet."


def test_report_replaces_only_its_section() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert insert(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert insert(insert(page, "newer"), "new") == insert(page, "new")


def test_report_has_a_plot_but_no_quick_scenarios(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "benchmarks.md").write_text(f"days\n{BEGIN}\n{END}\n")
    sizes = [result(name, OURS, 1.0) for name in ("1M-into-10M", "10M-into-10M")]
    write_report(tmp_path, [*sizes, result("quick", OURS, 1.0)])
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.startswith(f"days\n{BEGIN}\n`python -m bench.merge`")
    assert "(images/merge.svg)" in page
    assert "quick" not in page
    assert ET.fromstring((tmp_path / "images" / "merge.svg").read_text()).tag.endswith("svg")


def test_plot_has_a_rising_line_for_each_peer() -> None:
    text = draw(
        figures(
            *(
                result(f"{size}-into-10M", peer, cpu_s)
                for size, cpu_s in (("100k", 1.0), ("1M", 6.0), ("10M", 70.0))
                for peer in (OURS, RAW)
            ),
            result("1M-into-10M", ELEMENT, 150.0),
        )
    )
    svg = ET.fromstring(text)
    texts = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {title for title in texts if title in peers.TITLES.values()} == {
        "ours",
        "raw DuckDB, tuned",
        "element-wise Beam",
    }
    marks = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in svg.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(marks) == 7
    assert marks[0][0] < marks[1][0] < marks[2][0]
    assert marks[0][1] > marks[1][1] > marks[2][1] > marks[6][1] - 400
    assert draw(figures(result("1M-into-10M", OURS, 5.0))) == ""


def test_newest_result_of_each_machine_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "results.json"
    other = result("avro", OURS, 1.0, machine="8 cores")
    keep(file, [result("avro", OURS, 2.0), result("avro", RAW, 1.0), other])
    keep(file, [newer := result("avro", OURS, 3.0)])
    assert load(file) == [newer, result("avro", RAW, 1.0), other]
