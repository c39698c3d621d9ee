"""The results as Markdown: what each system reached, what it cost, and jobplane over each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from bench.harness.figures import Result, middle, ratios
from bench.harness.phases import Phase
from bench.harness.report import Results
from bench.harness.systems import System


def markdown(
    settings: str,
    phases: Sequence[Phase],
    systems: Sequence[System],
    versions: Mapping[str, str],
    results: Results,
) -> str:
    """The whole report."""
    names = [system.name for system in systems]
    notes = [
        f"- {system.name} {versions[system.name]}".rstrip()
        + f": {system.configuration}"
        + (f"; {system.share:.0%} of the jobs" if system.share != 1 else "")
        for system in systems
    ]
    reached = _table(
        ["system", *(phase.name for phase in phases)],
        ([name, *(_figure(phase, results[phase.name][name]) for phase in phases)] for name in names),
    )
    over = _table(
        ["jobplane over", *(phase.name for phase in phases)],
        (
            [name, *(_ratio(phase, results[phase.name], name) for phase in phases)]
            for name in names
            if name != "jobplane" and "jobplane" in names
        ),
    )
    measured = [phase for phase in phases if phase.verb in {"single", "bulk", "drain"} and not phase.beside]
    costs = _table(
        ["system", *(f"{phase.name}: us + us, B" for phase in measured), "memory MB"],
        (
            [name, *(_cost(phase, results[phase.name][name]) for phase in measured), _memory(results, name)]
            for name in names
        ),
    )
    parts = [
        settings,
        "Reached: jobs/s, or ms from enqueue to start as p50 / p99; medians.",
        reached,
        "Ratios, taken round by round: more is better for jobplane, also where it is of latencies.",
        over,
        "Cost of a job: processor time of worker or client + of the server, log bytes. Memory: the most of any phase.",
        costs,
        "\n".join(f"- {phase.name}: {phase.sentence}" for phase in phases),
        "\n".join(notes),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(phase: Phase, runs: Sequence[Result]) -> str:
    run = middle(runs, phase.unit)
    if run.skipped:
        return run.skipped
    return f"{run.p50:.1f} / {run.p99:.1f}" if phase.unit == "ms" else f"{run.rate:,.0f}"


def _ratio(phase: Phase, results: Mapping[str, Sequence[Result]], name: str) -> str:
    found = ratios(results["jobplane"], results[name], phase.unit)
    return f"{median(found):.2f}" if found else "-"


def _cost(phase: Phase, runs: Sequence[Result]) -> str:
    run = middle(runs, phase.unit)
    return "-" if run.skipped else f"{run.cpu:,.0f} + {run.db:,.0f}, {run.wal:,.0f}"


def _memory(results: Results, name: str) -> str:
    sizes = [run.memory for adapters in results.values() for run in adapters[name]]
    return f"{max(sizes):.0f}"
