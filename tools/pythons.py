"""Run the core of the suite on every Python that the package claims to support and that this machine has.

    python tools/pythons.py [--only 3.12 ...] [PYTEST ARGUMENT ...]

The claim is the list of classifiers in pyproject.toml. Interpreters are looked for on PATH (python3.12 and so on) and
in the folders of version managers: pyenv, uv, mise. Of each version the newest one counts that runs and can make
environments. Each gets an environment of its own under .pythons/, from requirements/test.txt. The exit code is 1 when the
tests failed on any of them; a version that is not here is named, and is no failure.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
LOCK: Final = ROOT / "requirements" / "test.txt"
ENVIRONMENTS: Final = ROOT / ".pythons"
CORE: Final = (
    "tests/unit",
    "tests/client",
    "tests/worker",
    "tests/seed",
    "tests/cli/test_enqueue.py",
    "tests/cli/test_main.py",
    "tests/security/test_s02_payload.py",
    "tests/store/test_adapters.py",
    "tests/store/test_claim.py",
    "tests/store/test_database.py",
    "tests/store/test_finish.py",
    "tests/store/test_insert.py",
)
"""What depends on the interpreter most: the words, both colours of the client, the worker, the drivers."""
_CLAIM: Final = "Programming Language :: Python :: 3."
_MANAGED: Final = (
    ("PYENV_ROOT", "~/.pyenv", "versions/3.{minor}.*/bin/python"),
    ("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python", "cpython-3.{minor}.*/bin/python3"),
    ("MISE_DATA_DIR", "~/.local/share/mise", "installs/python/3.{minor}.*/bin/python"),
)
"""Version managers: the variable that says where one keeps its versions, where it does so otherwise, and the pattern."""
_ASK: Final = "import ensurepip, sys, venv; print(*sys.version_info[:3], sys.implementation.name)"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="3.N", help="this version; may be repeated")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    chosen, for_pytest = parser.parse_known_args(arguments)
    found = {
        version: newest(candidates(version))
        for version in claimed()
        if chosen.only is None or version in chosen.only
    }
    for version, python in found.items():
        print(f"Python {version}: {python or 'NOT FOUND, so not tested'}", flush=True)
    if chosen.list:
        return 0
    here = {version: python for version, python in found.items() if python is not None}
    results = {version: tested(version, python, for_pytest) for version, python in here.items()}
    print("\n" + "\n".join(summary(found, results)))
    return 0 if here and all(results.values()) else 1


def claimed() -> list[str]:
    """The versions that the package says it runs on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [f"3.{line.removeprefix(_CLAIM)}" for line in project["classifiers"] if line.startswith(_CLAIM)]


def candidates(version: str) -> Iterator[Path]:
    """Every interpreter of a version that may be on this machine."""
    minor = version.removeprefix("3.")
    for folder in os.get_exec_path():
        if (python := Path(folder) / f"python{version}").is_file():
            yield python
    for variable, usual, pattern in _MANAGED:
        folder = os.environ.get(variable) or usual
        yield from Path(folder).expanduser().glob(pattern.format(minor=minor))


def newest(pythons: Iterator[Path]) -> Path | None:
    """The newest of them that really runs (a version manager's shim may refuse) and can make environments."""
    versions = {python: version for python in pythons if (version := _version_of(python)) is not None}
    return max(versions, key=lambda python: versions[python], default=None)


def tested(version: str, python: Path, for_pytest: Sequence[str]) -> bool:
    """Whether the core of the suite passes on one interpreter."""
    print(f"\n== Python {version}: {python}", flush=True)
    folder = ENVIRONMENTS / version
    if not installed(folder, python):
        return False
    options = ("-n", "2", "--dist", "loadscope", "-q", "-o", f"cache_dir={folder / 'pytest'}")
    return _runs(folder / "bin" / "pytest", *options, *(for_pytest or CORE))


def installed(folder: Path, python: Path) -> bool:
    """Make the environment of an interpreter, unless it is there and up to date."""
    stamp = folder / "installed"
    wanted = f"{_version_of(python)} {hashlib.sha256(LOCK.read_bytes()).hexdigest()}"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    pip = (
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
    )
    done = (
        _runs(python, "-m", "venv", folder)
        and _runs(*pip, "--require-hashes", "-r", LOCK)
        and _runs(*pip, "--no-deps", "--no-build-isolation", "-e", ROOT)
    )
    if done:
        stamp.write_text(wanted, encoding="utf-8")
    return done


def summary(found: Mapping[str, Path | None], results: Mapping[str, bool]) -> Iterator[str]:
    """One line for each version."""
    for version in found:
        passed = results.get(version)
        yield f"Python {version}: {'not found' if passed is None else 'passed' if passed else 'FAILED'}"


def _version_of(python: Path) -> tuple[int, ...] | None:
    try:
        asked = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - an interpreter, and our own text
    except (OSError, subprocess.TimeoutExpired):
        return None
    *numbers, name = asked.stdout.split() or [""]
    return tuple(map(int, numbers)) if asked.returncode == 0 and name == "cpython" else None


def _runs(*command: str | Path) -> bool:
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0  # noqa: S603 - a list, and no shell


if __name__ == "__main__":
    sys.exit(main())
