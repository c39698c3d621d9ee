"""`python -m bench.harness.install <system> ...`: other job queues, each in an environment of its own.

Nothing of ours depends on them. Each lands in bench/.envs/<system>; remove that folder to be rid of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys

from bench.harness.systems import PEERS, System


def install(system: System, interpreter: str) -> None:
    """Install the releases that systems.py names, into an environment of this Python."""
    shutil.rmtree(system.environment, ignore_errors=True)
    system.environment.mkdir(parents=True)
    if system.runtime == "node":
        (system.environment / "package.json").write_text('{"private": true}\n')
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        command = ["npm", "install", *options, *system.packages]
    else:
        subprocess.run([interpreter, "-m", "venv", str(system.environment)], check=True)
        python = str(system.environment / "bin" / "python")
        options = ["--quiet", "--disable-pip-version-check"]
        command = [python, "-m", "pip", "install", *options, *system.packages]
    subprocess.run(command, check=True, cwd=system.environment)
    (system.environment / ".ready").touch()


def version(system: System) -> str:
    """The release that is installed; of ours, none."""
    if system.runtime == "ours":
        return ""
    if system.runtime == "node":
        package = system.environment / "node_modules" / system.name / "package.json"
        return str(json.loads(package.read_text())["version"])
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    command = [str(system.environment / "bin" / "python"), "-c", code, system.name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.harness.install", description=__doc__)
    known = {system.name: system for system in PEERS}
    parser.add_argument("system", nargs="+", choices=[*known, "all"], help="which, or all")
    parser.add_argument("--python", default=sys.executable, help="the Python for their environments")
    given = parser.parse_args()
    failed = []
    for system in PEERS if "all" in given.system else [known[name] for name in given.system]:
        if system.newer and given.python == sys.executable:
            print(
                f"{system.name} may need Python {system.newer}: --python /path/to/python{system.newer}",
                file=sys.stderr,
            )
        try:
            install(system, given.python)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{system.name}: {error}", file=sys.stderr)
            failed.append(system.name)
        else:
            print(f"{system.name} {version(system)}")
    if failed:
        raise SystemExit(f"not installed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
