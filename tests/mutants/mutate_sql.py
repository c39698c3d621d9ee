"""Breaks a statement in every small way that a slip of the hand might: one change for each mutant.

Conditions are dropped and turned, comparisons shifted by one, assignments left out, branches of CASE exchanged, locks
weakened. Mutants that PostgreSQL does not accept are left out by whoever runs them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from tests.mutants.mutant import Mutant

TOKEN: Final = re.compile(
    r"\s+|'[^']*'|\{schema\}|::|=>|<=|>=|<>|\|\||@>|:?[A-Za-z_][A-Za-z_0-9]*|\d+(?:\.\d+)?|."
)
ENDS: Final = {
    "AND",
    "OR",
    "THEN",
    "ELSE",
    "END",
    "WHEN",
    "ORDER",
    "LIMIT",
    "FOR",
    "RETURNING",
    "GROUP",
    "FROM",
    "JOIN",
    "LEFT",
    "WHERE",
    "SET",
    "ON",
    "INTO",
    "AS",
    ",",
}
COMPARISONS: Final = {"=": "<>", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}
TURNED: Final = {"<": ">", "<=": ">", ">": "<", ">=": "<"}
STATUSES: Final = {"pending": "running", "running": "pending", "completed": "failed", "failed": "completed", "cancelled": "failed"}  # fmt: skip
WEAKENED: Final = (
    ("SKIP LOCKED", ""),
    ("NO KEY ", ""),
    ("FOR NO KEY UPDATE OF due SKIP LOCKED", ""),
    ("FOR NO KEY UPDATE OF job SKIP LOCKED", ""),
    ("FOR NO KEY UPDATE SKIP LOCKED", ""),
    (" DESC", ""),
    ("due.priority DESC, ", ""),
    ("due.scheduled_at, due.id", "due.id"),
    (", due.id\n", "\n"),
    ("LIMIT :limit::bigint", ""),
    ("LEFT JOIN", "JOIN"),
    ("NOT EXISTS", "EXISTS"),
    ("IS NOT NULL", "IS NULL"),
    ("IS NULL", "IS NOT NULL"),
    (" + ", " - "),
    (" - ", " + "),
    (" + 1", ""),
    ("IS NOT NULL AND", "IS NOT NULL OR"),
)


def mutants_of(name: str, text: str) -> Iterator[Mutant]:
    """All mutants of sql/<name>.sql, each different from the others and from the statement."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    text = "\n".join(lines) + "\n"
    seen, named = {_plain(text)}, Counter[str]()
    for change, mutated in _changes(text):
        if _plain(mutated) not in seen:
            seen.add(_plain(mutated))
            named[change] += 1
            number = f" (#{named[change]})" if named[change] > 1 else ""
            yield Mutant(name, change + number, mutated)


def _changes(text: str) -> Iterator[tuple[str, str]]:
    tokens = TOKEN.findall(text)
    yield from _conditions(tokens)
    yield from _assignments(tokens)
    yield from _branches(tokens)
    yield from _calls(tokens)
    for old, new in WEAKENED:
        for number, match in enumerate(re.finditer(re.escape(old), text), 1):
            mutated = text[: match.start()] + new + text[match.end() :]
            yield f"{old.strip()} #{number} -> {new.strip() or 'nothing'}", mutated
    for at, token in enumerate(tokens):
        if token.strip("'") in STATUSES and token.startswith("'"):
            other = f"'{STATUSES[token.strip(chr(39))]}'"
            yield f"{token} -> {other} after {_before(tokens, at)}", _replaced(tokens, at, at + 1, other)


def _conditions(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    for at, token in enumerate(tokens):
        if token not in {"WHERE", "AND", "OR", "ON", "WHEN"} or _opens_list(tokens, at):
            continue
        end = _end(tokens, at + 1, ENDS)
        condition = _short("".join(tokens[at + 1 : end]))
        for value in ("true", "false"):
            yield f"{token} {condition} -> {value}", _replaced(tokens, at + 1, end, f" {value} ")
        for place in _outside_parentheses(tokens, at + 1, end):
            for table in (COMPARISONS, TURNED):
                if tokens[place] in table:
                    new = table[tokens[place]]
                    yield (
                        f"{token} {condition}: {tokens[place]} -> {new}",
                        _replaced(tokens, place, place + 1, new),
                    )


def _assignments(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    for at, token in enumerate(tokens):
        if token != "SET":
            continue
        stop = _end(tokens, at + 1, {"FROM", "WHERE"})
        start = at + 1
        while start < stop:
            end = min(_end(tokens, start, {","}), stop)
            name = _plain("".join(tokens[start:end])).split(" ")[0]
            # With its comma: the one after it, or before the last.
            last = end >= stop
            left = start - 1 if last and tokens[start - 1] == "," else start
            yield f"SET {name} left out", _replaced(tokens, left, end + (not last), " ")
            start = end + 1


def _branches(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    for at, token in enumerate(tokens):
        if token == "THEN":
            end = _end(tokens, at + 1, {"WHEN", "ELSE", "END"})
            if tokens[end] == "ELSE":
                last = _end(tokens, end + 1, {"END"})
                mutated = [
                    *tokens[: at + 1], " ", *tokens[end + 1 : last], " ELSE ", *tokens[at + 1 : end], *tokens[last:],
                ]  # fmt: skip
                yield f"{_plain(''.join(tokens[at:last]))}: exchanged", "".join(mutated)
            elif tokens[end] == "WHEN":
                then = _end(tokens, end + 1, {"THEN"})
                after = _end(tokens, then + 1, {"WHEN", "ELSE", "END"})
                mutated = [
                    *tokens[: at + 1], *tokens[then + 1 : after], *tokens[end : then + 1], *tokens[at + 1 : end],
                    *tokens[after:],
                ]  # fmt: skip
                yield f"{_plain(''.join(tokens[at:after]))}: exchanged", "".join(mutated)


def _calls(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    for at, token in enumerate(tokens):
        if token in {"COALESCE", "GREATEST", "LEAST"}:
            close = _end(tokens, at + 2, set())
            comma = _end(tokens, at + 2, {","})
            whole = _plain("".join(tokens[at : close + 1]))
            for part in (tokens[at + 2 : comma], tokens[comma + 1 : close]):
                yield f"{whole} -> {_plain(''.join(part))}", _replaced(tokens, at, close + 1, "".join(part))


def _end(tokens: Sequence[str], start: int, words: set[str]) -> int:
    """Where what begins at `start` ends: at one of the words, or at the parenthesis that closes around it."""
    depth = cases = 0
    for at in range(start, len(tokens)):
        token = tokens[at]
        if depth == 0 and cases == 0 and (token in words or token == ")"):
            return at
        depth += (token == "(") - (token == ")")
        cases += (token == "CASE") - (token == "END")
    return len(tokens)


def _outside_parentheses(tokens: Sequence[str], start: int, end: int) -> Iterator[int]:
    depth = 0
    for at in range(start, end):
        depth += (tokens[at] == "(") - (tokens[at] == ")")
        if depth == 0:
            yield at


def _opens_list(tokens: Sequence[str], at: int) -> bool:
    # A WHEN or ON that is followed by a CASE's value, or the ON of ON CONFLICT, is no condition.
    return _plain("".join(tokens[at + 1 : at + 3])).startswith("CONFLICT")


def _replaced(tokens: Sequence[str], start: int, end: int, new: str) -> str:
    return "".join([*tokens[:start], new, *tokens[end:]])


def _before(tokens: Sequence[str], at: int) -> str:
    return " ".join("".join(tokens[:at]).split()[-3:])


def _short(text: str) -> str:
    plain = _plain(text)
    return plain if len(plain) <= 70 else f"{plain[:60]}..."


def _plain(text: str) -> str:
    return " ".join(text.split())
