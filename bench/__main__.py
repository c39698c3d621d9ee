"""`make bench`: jobplane beside bare SQL, in turns, on one embedded server with everything durable.

Each figure is a median over rounds; each ratio is taken round by round, so that a machine whose speed drifts
moves both sides. Ends with `ratio <phase> <ours over raw>`.
"""

from __future__ import annotations

import argparse
from statistics import median

from bench.harness.phases import PHASES, Result, run_phase
from bench.harness.report import print_configuration, print_ratios, print_table
from bench.harness.server import bench_server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each phase runs (default 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies the number of jobs (default 1.0)"
    )
    parser.add_argument(
        "--phase", action="append", choices=[phase.name for phase in PHASES], help="only this phase"
    )
    parser.add_argument("--adapter", action="append", help="only this adapter")
    given = parser.parse_args()
    phases = [phase for phase in PHASES if not given.phase or phase.name in given.phase]
    results: dict[str, dict[str, list[Result]]] = {phase.name: {} for phase in phases}
    with bench_server() as server:
        print_configuration(server)
        for number in range(given.rounds):
            for phase in phases:
                for adapter in given.adapter or ("raw", "jobplane"):
                    result = run_phase(server, phase, adapter, given.scale)
                    results[phase.name].setdefault(adapter, []).append(result)
                    print(
                        f"round {number + 1}  {phase.name:<8} {adapter:<9} {result.shown(phase.unit)}",
                        flush=True,
                    )
    print_table(phases, results)
    print_ratios(phases, results, median)


if __name__ == "__main__":
    main()
