"""Settings as people write them, in the environment and in code: to the values that they stand for."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from jobplane.errors import ConfigurationError, shown

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


def parsed(name: str, value: object, hint: str, source: str) -> object:
    """The value of a setting whose type is written as `hint`.

    Raises ConfigurationError for what cannot be read, naming the setting and where its value came from.
    """
    try:
        if "timedelta" in hint and isinstance(value, str | int | float) and not isinstance(value, bool):
            return timedelta(seconds=float(value))
        if "bool" in hint:
            return _truth(value)
        if "int" in hint and isinstance(value, str):
            return int(value)
        if name == "ssl":
            return _sslmode(value)
    except (ValueError, OverflowError):
        unit = (
            "a number of seconds"
            if "timedelta" in hint
            else "true or false"
            if "bool" in hint
            else "a whole number"
        )
        raise ConfigurationError(f"{name} must be {unit}; got {shown(value)} (from {source})") from None
    return value


def _truth(value: object) -> bool:
    word = str(value).lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(word)
    return word in _TRUE


def _sslmode(value: object) -> object:
    word = str(value).lower()
    return "require" if word in _TRUE else "disable" if word in _FALSE else word
