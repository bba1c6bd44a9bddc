"""The merge beside raw DuckDB, dlt and element-wise Beam, in one run: `python -m bench.merge`.

Every peer must end in the same table. Results are kept in .millrace/bench/results.json; docs/benchmarks.md has the
newest of this machine.
"""

import argparse
import shlex
import sys
from datetime import UTC, datetime

from bench.merge.check import TablesDiffer
from bench.merge.peers import ELEMENT, ROOT, TITLES, Runner, find_runners
from bench.merge.report import table, write_report
from bench.merge.results import Result, keep, load, machine, versions
from bench.merge.run import run_scenario
from bench.merge.scenarios import QUICK, SCENARIOS, Scenario, choose
from bench.merge.targets import PeerFailed

CACHE = ROOT / ".millrace" / "bench"
RESULTS, DOCS = CACHE / "results.json", ROOT / "docs"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    names = "\n".join(f"  {s.name:16} {s.text}: {', '.join(TITLES[p] for p in s.peers)}" for s in SCENARIOS)
    parser = argparse.ArgumentParser(
        prog="python -m bench.merge",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"scenarios:\n{names}\n\nData, tables and dlt's environment are kept under .millrace/bench/; all"
        " scenarios need about 30 GB there, and some hours.",
    )
    parser.add_argument("--scenarios", nargs="+", metavar="NAME", help="names or patterns, as '*-into-1M' (all)")
    parser.add_argument("--quick", action="store_true", help="small ones, in some two minutes; not in the report")
    parser.add_argument("--peers", nargs="+", choices=TITLES, default=list(TITLES), help="some peers only (all)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="interleaved runs of each (3)")
    parser.add_argument(
        "--element-rows",
        type=int,
        default=1_000_000,
        metavar="ROWS",
        help="largest batch for element-wise Beam, which takes minutes (1000000)",
    )
    parser.add_argument("--report", action="store_true", help="measure nothing; write the report of the stored results")
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """Scenarios that the command line asks for."""
    if options.scenarios:
        try:
            return choose(options.scenarios)
        except ValueError as error:
            raise SystemExit(str(error)) from None
    return [s for s in SCENARIOS if s.name.startswith(QUICK) == options.quick]


def measure(scenario: Scenario, runners: dict[str, Runner], options: argparse.Namespace, command: str) -> list[Result]:
    """Results of one scenario. Raises PeerFailed and TablesDiffer."""
    able = {n: r for n, r in runners.items() if n in scenario.peers}
    if scenario.batch.rows > options.element_rows:
        able.pop(ELEMENT, None)
    runs = run_scenario(CACHE, scenario, able, options.repeat)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return [
        Result(scenario.name, peer, scenario.batch.rows, machine(), versions(), command, day, tuple(peer_runs))
        for peer, peer_runs in runs.items()
    ]


def main(arguments: list[str]) -> int:
    """Measure, print, and keep the report; 1 when a peer failed, or ended in another table."""
    options = parse(arguments)
    command = shlex.join(["python", "-m", "bench.merge", *arguments])
    failed, measured = [], []
    scenarios = [] if options.report else chosen(options)
    runners = find_runners(CACHE, options.peers) if scenarios else {}
    for scenario in scenarios:
        try:
            results = measure(scenario, runners, options, command)
        except (PeerFailed, TablesDiffer) as error:
            failed.append(scenario.name)
            print(f"{scenario.name}: {error}", file=sys.stderr, flush=True)
            continue
        keep(RESULTS, results)
        measured += results
    if measured:
        print(table({(r.scenario, r.peer): r for r in measured}))
    if options.report or not all(r.scenario.startswith(QUICK) for r in measured):
        write_report(DOCS, [r for r in load(RESULTS) if r.machine == machine()])
    if failed:
        print(f"failed, and not kept: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
