"""`make test-pythons`: which interpreters it finds, and what it says of those that it does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import pythons


def interpreter(path: Path, version: str, name: str = "cpython", code: int = 0) -> Path:
    """What answers like an interpreter of a version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version.replace('.', ' ')} {name}\nexit {code}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No interpreter but those that a test makes; the shell stays."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for variable in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "MISE_DATA_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))


def found(version: str) -> Path | None:
    return pythons.newest(pythons.candidates(version))


def test_the_versions_are_those_that_the_package_claims() -> None:
    assert pythons.claimed() == ["3.11", "3.12", "3.13", "3.14"]


def test_interpreters_are_found_on_the_path_and_with_version_managers(tmp_path: Path) -> None:
    on_path = interpreter(tmp_path / "bin" / "python3.11", "3.11.4")
    pyenv = interpreter(tmp_path / "PYENV_ROOT" / "versions" / "3.12.1" / "bin" / "python", "3.12.1")
    uv = interpreter(
        tmp_path / "UV_PYTHON_INSTALL_DIR" / "cpython-3.13.2-linux" / "bin" / "python3", "3.13.2"
    )
    mise = interpreter(
        tmp_path / "MISE_DATA_DIR" / "installs" / "python" / "3.14.0" / "bin" / "python", "3.14.0"
    )

    assert [found(version) for version in pythons.claimed()] == [on_path, pyenv, uv, mise]


def test_of_a_version_the_newest_that_really_runs_counts(tmp_path: Path) -> None:
    versions = tmp_path / "PYENV_ROOT" / "versions"
    interpreter(versions / "3.12.9" / "bin" / "python", "3.12.9")
    newest = interpreter(versions / "3.12.11" / "bin" / "python", "3.12.11")
    interpreter(versions / "3.12.12" / "bin" / "python", "3.12.12", code=1)
    interpreter(versions / "3.12.13" / "bin" / "python", "3.12.13", name="pypy")
    interpreter(tmp_path / "bin" / "python3.12", "", code=127)  # a shim that refuses

    assert found("3.12") == newest
    assert found("3.13") is None


def test_a_version_that_is_not_here_is_named_and_no_failure_and_a_failed_one_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for version in ("3.11", "3.12"):
        interpreter(tmp_path / "bin" / f"python{version}", f"{version}.1")
    outcomes = {"3.11": True, "3.12": True}
    monkeypatch.setattr(pythons, "tested", lambda version, *_: outcomes[version])

    passed = pythons.main([])
    outcomes["3.12"] = False
    failed = pythons.main([])

    assert (passed, failed) == (0, 1)
    out = capsys.readouterr().out
    assert "Python 3.13: NOT FOUND, so not tested" in out
    assert "Python 3.11: passed\nPython 3.12: FAILED\nPython 3.13: not found\nPython 3.14: not found\n" in out


def test_no_interpreter_at_all_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert pythons.main([]) == 1
    assert pythons.main(["--list"]) == 0


def test_this_interpreter_is_one() -> None:
    assert pythons.newest(iter([Path(sys.executable)])) == Path(sys.executable)
