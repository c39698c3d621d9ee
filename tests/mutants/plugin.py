"""`pytest -p tests.mutants.plugin`: the tests run on the mutant that JOBPLANE_MUTANT names; without it, on the product.

A statement is replaced where statements are read, a module where it is imported, both before a test has begun. Nothing
in the product knows of this.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from hypothesis import Phase, settings

# A mutant is caught by the first example that fails: the shortest one is of no interest.
settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None, derandomize=True)
settings.load_profile("mutants")


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - there is one module
        return compile(self._text, self.path, "exec")


class _Finder(MetaPathFinder):
    def __init__(self, target: str, text: str) -> None:
        self._target = target
        self._text = text

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - as importlib calls it
    ) -> ModuleSpec | None:
        if fullname != self._target:
            return None
        spec = PathFinder.find_spec(fullname, path)
        assert spec is not None, f"there is no module {fullname}"
        assert spec.origin is not None, f"{fullname} has no file"
        spec.loader = _Loader(fullname, spec.origin, self._text)
        return spec


def _replace_statement(target: str, mutant: str) -> None:
    from jobplane import sql  # noqa: PLC0415 - must not be imported before a module of it is replaced

    parse = sql.parse

    def parse_mutant(name: str, text: str, schema: str, clock: str = "now()") -> sql.Statement:
        return parse(name, mutant if name == target else text, schema, clock)

    sql.parse = parse_mutant


if chosen := os.environ.get("JOBPLANE_MUTANT"):
    _mutant: dict[str, str] = json.loads(Path(chosen).read_text())
    if "/" in _mutant["target"]:
        _replace_statement(_mutant["target"], _mutant["text"])
    else:
        sys.meta_path.insert(0, _Finder(_mutant["target"], _mutant["text"]))
