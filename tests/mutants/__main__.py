"""`make mutants`, or `python -m tests.mutants [job/claim jobplane.retry ...]`: how many small breaks go unnoticed.

Why not mutmut: it changes the bodies of functions, and of what is to be checked here the statements are SQL, the state
machine a table, and the outcomes are classes.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.mutant import Mutant
from tests.mutants.runner import Judge, judge, runner
from tests.mutants.targets import MODULES, STATEMENTS, TESTS, mutants_of

FORKS: Final = int(os.environ.get("FORKS", "2"))
"""How many mutants at a time."""
MOST: Final = 10.0
"""Percent that may survive."""


def main(chosen: Sequence[str]) -> int:
    """Run the mutants of the chosen targets (all, when none are), print a table, and say whether enough were killed."""
    targets = list(chosen) or list(TESTS)
    killed, survived, known = Counter[str](), Counter[str](), Counter[str]()
    with judge() as judging, runner(judging.url, FORKS) as running:
        tests = dict.fromkeys(test for target in targets for test in TESTS[target])
        if printed := running.fails_on_the_product(tests):
            print(printed, "the tests fail without any mutant: mend them first", sep="\n")
            return 2
        for mutant, failed in running.run(_work(targets, judging)):
            assert mutant is not None
            if failed:
                killed[mutant.target] += 1
            elif str(mutant) in EQUIVALENT:
                known[mutant.target] += 1
            else:
                survived[mutant.target] += 1
                print(f"survived  {mutant}", flush=True)
    print(f"\n{'':28} mutants  killed  equivalent  survived")
    shares = []
    for group, word in ((STATEMENTS, "statements"), (MODULES, "modules")):
        names = [target for target in targets if target in group]
        for name in names:
            _line(name, killed[name], known[name], survived[name])
        if names:
            counts = [sum(counter[name] for name in names) for counter in (killed, known, survived)]
            shares.append(_line(f"all {word}", *counts))
    return int(max(shares) > MOST)


def _work(targets: Sequence[str], judging: Judge) -> Iterator[tuple[Mutant, tuple[str, ...]]]:
    for target in targets:
        for mutant in mutants_of(target):
            if judging.accepts(mutant):
                yield mutant, TESTS[target]


def _line(name: str, killed: int, known: int, survived: int) -> float:
    share = 100 * survived / max(killed + survived, 1)
    print(f"{name:28} {killed + known + survived:7} {killed:7} {known:11} {survived:9}  {share:4.1f} %")
    return share


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
