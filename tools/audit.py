"""What we depend on, checked: every requirement pinned and hashed, none with a known weakness, and a bill of materials.

    python tools/audit.py [--sbom FILE] [--advisories auto|always|never]

Exit code 1 for a line of a lock in requirements/ that is not pinned by version and hash, and for a known weakness that is
not accepted below. requirements/dev.txt is asked about, which holds all that the others do, but for the pictures' plot.txt. The weaknesses are asked of the package index by pip-audit. Where that does not answer, nothing was
checked, and this says so as loudly as it can; with --advisories always it fails.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

ROOT: Final = Path(__file__).parent.parent
LOCK: Final = ROOT / "requirements" / "dev.txt"
LOCKS: Final = tuple(sorted((ROOT / "requirements").glob("*.txt")))
ACCEPTED: Final[Mapping[str, str]] = {}
"""Ids of weaknesses that do not concern us, and why."""
_PINNED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[a-z0-9_,-]+\])?==[^\s;=*]+( ;[^\\]+)?")
_HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sbom", type=Path, help="write a CycloneDX bill of materials here")
    parser.add_argument("--advisories", choices=("auto", "always", "never"), default="auto")
    chosen = parser.parse_args(arguments)
    problems = [
        f"{path.name}: {problem}" for path in LOCKS for problem in unpinned(path.read_text(encoding="utf-8"))
    ]
    if chosen.sbom is not None:
        write_sbom(chosen.sbom)
    unasked: list[str] = ["all of them: not asked"]
    if chosen.advisories != "never":
        found, unasked = weaknesses(ask_advisories())
        problems += found
    for problem in problems:
        print(f"PROBLEM {problem}")
    if unasked:
        _shout(unasked)
    ok = not problems and not (unasked and chosen.advisories == "always")
    print("requirements: " + ("pinned and hashed" if ok else "see above"))
    return 0 if ok else 1


def unpinned(text: str) -> list[str]:
    """The lines of a requirements file that do not say exactly which files are meant, each with the reason."""
    problems = []
    for line in _logical_lines(text):
        requirement, *options = re.split(r"\s+(?=--)", line)
        if requirement.startswith("-"):
            problems.append(f"{line}: an option, where only requirements belong")
        elif not _PINNED.fullmatch(requirement.strip()):
            problems.append(f"{requirement}: not pinned to one version (name==version)")
        elif not options or not all(_HASH.fullmatch(option.strip()) for option in options):
            problems.append(f"{requirement}: without a sha256 hash of each file")
    return problems


def weaknesses(report: object) -> tuple[list[str], list[str]]:
    """What pip-audit's report says: weaknesses that nobody accepted, and the packages it could not ask about."""
    if not isinstance(report, Mapping) or not report.get("dependencies"):
        return [], ["all of them: no report"]
    found, unasked = [], []
    for dependency in cast("list[dict[str, object]]", report["dependencies"]):
        name = str(dependency["name"])
        if "skip_reason" in dependency:
            unasked.append(name)
        for weakness in cast("list[dict[str, object]]", dependency.get("vulns", [])):
            ids = {str(weakness["id"]), *map(str, cast("list[str]", weakness.get("aliases", [])))}
            if not ids & ACCEPTED.keys():
                found.append(
                    f"{name}=={dependency.get('version')}: {', '.join(sorted(ids))}; mended in {weakness.get('fix_versions')}"
                )
    return found, unasked


def ask_advisories() -> object:
    """pip-audit's report about the lock; None where there is none."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--disable-pip", "--require-hashes",
        "--format", "json", "--progress-spinner", "off",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603 - a list, and no shell
        return cast("object", json.loads(done.stdout))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def write_sbom(path: Path) -> None:
    """A CycloneDX bill of materials of the lock, the same for the same lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "cyclonedx_py", "requirements", str(LOCK), "--pyproject", str(ROOT / "pyproject.toml"),
        "--output-reproducible", "--output-format", "JSON", "--output-file", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True)  # noqa: S603 - a list, and no shell
    print(f"wrote {path}")


def _logical_lines(text: str) -> list[str]:
    joined = re.sub(r"\\\n", " ", text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line]


def _shout(unasked: Sequence[str]) -> None:
    names = ", ".join(unasked[:5]) + (f" and {len(unasked) - 5} more" if len(unasked) > 5 else "")
    print(
        f"{'!' * 100}\n!! NOT CHECKED FOR KNOWN WEAKNESSES: {names}\n"
        "!! The advisory service did not answer for these. Run this where it can be reached, before a release.\n"
        f"{'!' * 100}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
