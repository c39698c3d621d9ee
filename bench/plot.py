"""`make bench-plot`: the pictures of docs/performance.md, from the figures of `make bench-peers`.

    python -m bench.plot [RESULT.json ...]

Without files, those of bench/published. Of a phase that several files have, the last one counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from bench.harness.figures import Result, middle
from bench.harness.phases import PHASES, Unit
from bench.harness.systems import BENCH

mpl.use("svg")
from matplotlib import pyplot as plt

PUBLISHED: Final = BENCH / "published"
IMAGES: Final = BENCH.parent / "docs" / "images"
OURS, CEILING, OTHERS, TAIL, INK, FAINT = "#1f6feb", "#ffffff", "#9aa4b2", "#d5dae1", "#24292f", "#57606a"
UNITS: Final[Mapping[str, Unit]] = {phase.name: phase.unit for phase in PHASES}
Runs = Mapping[str, Mapping[str, Sequence[Result]]]


def main(paths: Sequence[str]) -> None:
    """Draw all pictures."""
    found = read([Path(path) for path in paths] or sorted(PUBLISHED.glob("*.json")))
    mpl.rcParams.update(
        {
            "font.family": "sans-serif",
            "font.size": 9,
            "text.color": INK,
            "axes.labelcolor": FAINT,
            "xtick.color": FAINT,
            "ytick.color": INK,
            "svg.hashsalt": "jobplane",  # the same figures give the same file
            "svg.fonttype": "none",
        }
    )
    IMAGES.mkdir(parents=True, exist_ok=True)
    draw(
        "performance-drain.svg",
        found,
        [("drain", "no-op jobs run, one worker process"), ("drain2", "two worker processes")],
        rates,
    )
    draw(
        "performance-enqueue.svg",
        found,
        [
            ("single", "enqueue one by one"),
            ("concurrent", "from 100 tasks at once"),
            ("bulk", "enqueue many"),
        ],
        rates,
    )
    draw(
        "performance-pickup.svg",
        found,
        [("pickup", "enqueue to start, 100/s"), ("pickup1000", "enqueue to start, 1,000/s")],
        latencies,
    )


def read(paths: Sequence[Path]) -> Runs:
    """All phases of some files."""
    found: dict[str, dict[str, list[Result]]] = {}
    for path in paths:
        for phase, adapters in json.loads(path.read_text())["phases"].items():
            found[phase] = {name: [Result(**run) for run in runs] for name, runs in adapters.items()}
    return found


def draw(
    name: str,
    found: Runs,
    panels: Sequence[tuple[str, str]],
    kind: Callable[[Any, str, Mapping[str, Result]], None],
) -> None:
    """One picture of one panel for each phase."""
    chosen = [(phase, title) for phase, title in panels if phase in found]
    figure, axes = plt.subplots(1, len(chosen), figsize=(3.6 * len(chosen), 3.2), squeeze=False)
    for axis, (phase, title) in zip(axes[0], chosen, strict=True):
        medians = {name: middle(runs, UNITS[phase]) for name, runs in found[phase].items()}
        axis.set_title(title, fontsize=9, loc="left", color=FAINT)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
        axis.spines["bottom"].set_color(TAIL)
        axis.tick_params(length=0)
        axis.set_xticks([])
        kind(axis, phase, {name: run for name, run in medians.items() if not run.skipped})
    figure.tight_layout()
    figure.savefig(IMAGES / name, metadata={"Date": None})
    plt.close(figure)
    print(IMAGES / name)


def rates(axis: Any, _phase: str, medians: Mapping[str, Result]) -> None:
    """Jobs a second, the most on top."""
    ordered = sorted(medians, key=lambda name: medians[name].rate)
    for place, name in enumerate(ordered):
        rate = medians[name].rate
        axis.barh(
            place,
            rate,
            0.7,
            color=colour(name),
            edgecolor=FAINT if name == "raw" else "none",
            hatch=hatch(name),
        )
        beside(axis, rate, place, f"{rate:,.0f}/s")
    axis.set_yticks(range(len(ordered)), ordered)
    axis.set_xlim(0, max(run.rate for run in medians.values()) * 1.35)


def latencies(axis: Any, _phase: str, medians: Mapping[str, Result]) -> None:
    """Median and 99th percentile on a logarithmic scale, the quickest on top."""
    ordered = sorted(medians, key=lambda name: -medians[name].p50)
    for place, name in enumerate(ordered):
        run = medians[name]
        axis.plot([run.p50, run.p99], [place, place], color=TAIL, linewidth=3, zorder=1)
        edge = FAINT if name == "raw" else colour(name)
        axis.scatter([run.p50, run.p99], [place, place], s=26, color=colour(name), edgecolor=edge, zorder=2)
        beside(axis, run.p99, place, f"{milliseconds(run.p50)} / {milliseconds(run.p99)} ms")
    axis.set_yticks(range(len(ordered)), ordered)
    axis.set_xscale("log")
    axis.set_xlim(0.5, max(run.p99 for run in medians.values()) * 60)
    axis.set_xticks([], minor=True)
    axis.set_xticks([])
    axis.set_xlabel("p50 / p99", fontsize=8)


def beside(axis: Any, value: float, place: int, text: str) -> None:
    """What it says, to the right of where it ends."""
    offset = {"xytext": (6, 0), "textcoords": "offset points"}
    axis.annotate(text, (value, place), va="center", fontsize=8, **offset)


def milliseconds(value: float) -> str:
    """Tenths, as long as they matter."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def colour(name: str) -> str:
    """Ours stands out, and the ceiling is no competitor."""
    return {"jobplane": OURS, "raw": CEILING}.get(name, OTHERS)


def hatch(name: str) -> str | None:
    """The ceiling is hatched."""
    return "////" if name == "raw" else None


if __name__ == "__main__":
    main(sys.argv[1:])
