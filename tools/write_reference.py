"""Writes docs/reference/settings.md and events.md from the code; --check says whether they are current."""

from __future__ import annotations

import inspect
import sys
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

from jobplane import events
from jobplane.settings import DatabaseSettings, WorkerSettings

FOLDER = Path(__file__).parent.parent / "docs" / "reference"


def settings_page() -> str:
    """One table for each component."""
    lines = [
        "# Settings",
        "",
        "Written from `settings.py` by `python tools/write_reference.py`. An argument wins over the environment, the",
        "environment over the default; `jobplane doctor` shows what is in effect and where it came from. Times are",
        "seconds in the environment, and seconds or `timedelta` in code.",
    ]
    for component in (DatabaseSettings, WorkerSettings):
        lines += [
            "",
            f"## {component.__name__}",
            "",
            "| name | default | environment | meaning |",
            "|---|---|---|---|",
        ]
        for item in fields(component):
            names = ", ".join(f"`{name}`" for name in item.metadata["env"])
            lines.append(
                f"| `{item.name}` | {_shown(item.default)} | {names} | {item.metadata['sentence']} |"
            )
    return "\n".join(lines) + "\n"


def events_page() -> str:
    """The table of the module's docstring, and the fields of each event."""
    lines = [
        "# Events",
        "",
        "Written from `events.py` by `python tools/write_reference.py`. Subscribe with",
        "`worker.events.subscribe(JobFinished, callback)`; log lines are one such subscriber.",
        "",
        *(inspect.getdoc(events) or "").splitlines()[2:],
        "",
        "## Fields",
        "",
    ]
    for _, event in inspect.getmembers(events, inspect.isclass):
        if issubclass(event, events.Event) and event is not events.Event:
            names = ", ".join(f"`{item.name}: {item.type}`" for item in fields(event))
            lines.append(f"* **{event.__name__}**: {names}")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    return "none" if value is None else f"`{value}`"


def main() -> int:
    """Write the pages, or compare them."""
    stale = []
    for name, page in (("settings.md", settings_page()), ("events.md", events_page())):
        path = FOLDER / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != page:
                stale.append(name)
        else:
            path.write_text(page, encoding="utf-8")
    if stale:
        print(
            f"{', '.join(stale)} in docs/reference do not match the code: run python tools/write_reference.py"
        )
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
