"""Functions that read a hyper-parameter and check it.

Each function takes RecBole's ``Config`` (or a dictionary), the key and the allowed values. It
returns the value as a plain Python number or string, or raises a ``ValueError`` that names the key
and the value.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, Protocol


class Settings(Protocol):
    """Anything that gives a hyper-parameter by its name: RecBole's ``Config`` or a ``dict``."""

    def __getitem__(self, key: str, /) -> Any: ...

    def __contains__(self, key: object, /) -> bool: ...


def choice(config: Settings, key: str, allowed: Sequence[str]) -> str:
    """Read one of the allowed words.

    Raises:
        ValueError: if the value is not one of ``allowed``; the message lists them.
    """
    value = config[key]
    if value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}; got {value!r}")
    return str(value)


def integer(config: Settings, key: str, minimum: int) -> int:
    """Read a whole number ``>= minimum``.

    Raises:
        ValueError: if the value is not a whole number or is too small.
    """
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"{key} must be a whole number of at least {minimum}, got {value!r}")
    return int(value)


def all_or_integer(config: Settings, key: str, minimum: int) -> int | None:
    """Read a whole number ``>= minimum``, or the word ``all``, which is returned as ``None``.

    Raises:
        ValueError: if the value is neither.
    """
    if config[key] == "all":
        return None
    try:
        return integer(config, key, minimum)
    except ValueError as error:
        raise ValueError(str(error).replace(" must be", " must be all or")) from None


def real(
    config: Settings,
    key: str,
    minimum: float = -math.inf,
    above: float = -math.inf,
    maximum: float = math.inf,
    below: float = math.inf,
) -> float:
    """Read a finite number ``>= minimum``, ``> above``, ``<= maximum`` and ``< below``.

    Raises:
        ValueError: if the value is not a finite number or is out of range.
    """
    value = config[key]
    valid = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    if not valid or not (minimum <= value <= maximum and above < value < below):
        bounds = bounds_in_words(minimum, above, maximum, below)
        of = "of " * bounds.startswith("at ")
        raise ValueError(f"{key} must be a number {of}{bounds}".strip() + f", got {value!r}")
    return float(value)


def bounds_in_words(minimum: float, above: float, maximum: float, below: float) -> str:
    """The bounds of :func:`real`, such as ``at least 0 and below 1``; empty if there are none."""
    if math.isfinite(minimum) and math.isfinite(maximum):
        return f"from {minimum:g} to {maximum:g}"
    named = {"at least": minimum, "above": above, "at most": maximum, "below": below}
    return " and ".join(f"{word} {end:g}" for word, end in named.items() if math.isfinite(end))


def flag(config: Settings, key: str) -> bool:
    """Read ``True`` or ``False``.

    Raises:
        ValueError: if the value is neither.
    """
    value = config[key]
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be True or False, got {value!r}")
    return value


def optional_name(config: Settings, key: str) -> str | None:
    """Read a name, such as a column's, or ``None``.

    Raises:
        ValueError: if the value is neither.
    """
    value = config[key]
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError(f"{key} must be a name or empty, got {value!r}")
    return value


def integers(config: Settings, key: str, minimum: int) -> list[int]:
    """Read a list of whole numbers ``>= minimum``, which may be empty.

    Raises:
        ValueError: if the value is not such a list.
    """
    value = config[key]
    if not isinstance(value, list | tuple):
        raise ValueError(f"{key} must be a list of whole numbers, got {value!r}")
    for at in value:
        integer({key: at}, key, minimum)
    return list(value)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known names closest to a mistyped one: `` Did you mean …?``, or empty."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(by_lower[name] for name in close)}?" if close else ""
