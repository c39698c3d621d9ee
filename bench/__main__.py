"""`make bench`: jobplane beside bare SQL, in turns, on one embedded server with everything durable.

Each figure is a median over rounds; each ratio is taken round by round, so that a machine whose speed drifts
moves both sides. Ends with `ratio <phase> <ours over raw>`. With --peers: every phase, beside every other queue
that is installed (python -m bench.harness.install), as Markdown and as JSON in bench/results.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product

from bench.harness.figures import Result
from bench.harness.install import version
from bench.harness.phases import PHASES, Phase
from bench.harness.report import (
    RESULTS,
    configuration,
    missed,
    over_raw,
    print_ratios,
    print_table,
    write_json,
)
from bench.harness.run import AdapterError, Bench
from bench.harness.server import bench_server
from bench.harness.systems import OURS, PEERS, System
from bench.harness.table import markdown


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each phase runs (default 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="multiplies the number of jobs (default 1.0)"
    )
    parser.add_argument(
        "--phase", action="append", choices=[phase.name for phase in PHASES], help="only this phase"
    )
    parser.add_argument(
        "--adapter",
        action="append",
        choices=[system.name for system in (*OURS, *PEERS)],
        help="only this adapter",
    )
    parser.add_argument("--peers", action="store_true", help="every phase, beside the other queues")
    parser.add_argument(
        "--at-least",
        action="append",
        type=floor,
        metavar="PHASE=RATIO",
        help="end with an error when the ratio to raw of a phase is smaller",
    )
    given = parser.parse_args()
    phases = [
        phase for phase in PHASES if (phase.name in given.phase if given.phase else given.peers or phase.core)
    ]
    systems = chosen(given.adapter or [], peers=given.peers)
    results: dict[str, dict[str, list[Result]]] = {
        phase.name: {system.name: [] for system in systems} for phase in phases
    }
    with bench_server() as server:
        settings = configuration(server)
        print(settings)
        bench = Bench(server, given.scale)
        for number, phase, system in turns(given.rounds, phases, systems, peers=given.peers):
            result = measured(bench, phase, system)
            results[phase.name][system.name].append(result)
            print(f"round {number}  {phase.name:<8} {system.name:<9} {result.shown(phase.unit)}", flush=True)
            if phase.beside and number == given.rounds and system is systems[-1]:
                bench.forget_templates()
    if given.peers:
        versions = {system.name: version(system) for system in systems}
        report = markdown(settings, phases, systems, versions, results)
        path = write_json(RESULTS, settings, versions, given.scale, results)
        path.with_suffix(".md").write_text(report)
        print(f"\n{report}\n{path.with_suffix('.md')}\n{path}")
    else:
        print_table(phases, results)
    found = over_raw(phases, results)
    print_ratios(found)
    if below := missed(found, dict(given.at_least or [])):
        raise SystemExit("too slow: " + "; ".join(below))


def floor(text: str) -> tuple[str, float]:
    """`drain=0.5` as name and number. Raises ArgumentTypeError."""
    name, _, ratio = text.partition("=")
    if name not in {phase.name for phase in PHASES}:
        raise argparse.ArgumentTypeError(f"{name!r} is no phase: {', '.join(phase.name for phase in PHASES)}")
    try:
        return name, float(ratio)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} names no ratio: write {name}=0.5") from None


def chosen(names: Sequence[str], *, peers: bool) -> list[System]:
    """Who takes part: those that were named, or ours, or ours and every other that is installed."""
    if names:
        systems = [system for system in (*OURS, *PEERS) if system.name in names]
        if missing := [system.name for system in systems if not system.installed]:
            raise SystemExit(f"not installed: python -m bench.harness.install {' '.join(missing)}")
        return systems
    if not peers:
        return list(OURS)
    for system in PEERS:
        if not system.installed:
            print(f"{system.name} is not installed: python -m bench.harness.install {system.name}")
    return [system for system in (*OURS, *PEERS) if system.installed]


def turns(
    rounds: int, phases: Sequence[Phase], systems: Sequence[System], *, peers: bool
) -> Iterator[tuple[int, Phase, System]]:
    """All in turns. With peers a phase ends before the next begins, so that its prepared databases can go."""
    if peers:
        for phase, number, system in product(phases, range(1, rounds + 1), systems):
            yield number, phase, system
    else:
        yield from product(range(1, rounds + 1), phases, systems)


def measured(bench: Bench, phase: Phase, system: System) -> Result:
    """One run. Where another queue fails, the others go on."""
    try:
        return bench.run(phase, system)
    except AdapterError as error:
        if system.runtime == "ours":
            raise SystemExit(str(error)) from error
        print(error)
        return Result(skipped="failed")


if __name__ == "__main__":
    main()
