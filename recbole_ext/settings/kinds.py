"""Checks for kinds of settings; each raises an error that names the key and the value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from typing import Any, TypeAlias

from recbole_ext.settings.reading import Settings, choice, flag, integer, nearest

Check: TypeAlias = Callable[[Settings, str], Any]

_INTERVALS = re.compile(r"\s*([\[(]\s*[^,;\s]+\s*,\s*[^,;\s]+\s*[\])]\s*;?\s*)+")


def each(check: Check, *keys: str) -> dict[str, Check]:
    """The same check for several keys."""
    return dict.fromkeys(keys, check)


def optional(check: Check) -> Check:
    """A check that also allows ``None``."""

    def check_if_given(settings: Settings, key: str) -> None:
        if settings[key] is not None:
            check(settings, key)

    return check_if_given


def switch(settings: Settings, key: str) -> None:
    """Check for ``True`` or ``False``, or for 1 or 0, which users of RecBole also write."""
    if settings[key] not in (0, 1):
        flag(settings, key)


def whole(minimum: int) -> Check:
    """A check for a whole number of at least ``minimum``."""
    return partial(integer, minimum=minimum)


def seed(settings: Settings, key: str) -> None:
    """Check for a seed that numpy accepts."""
    if integer(settings, key, minimum=0) >= 2**32:
        raise ValueError(f"{key} must be below 2**32, got {settings[key]!r}")


def word(settings: Settings, key: str) -> None:
    """Check for a text or a path that is not empty."""
    if not isinstance(settings[key], str | os.PathLike) or not str(settings[key]):
        raise ValueError(f"{key} must be a word, got {settings[key]!r}")


def one_of(*allowed: str) -> Check:
    """A check for one of the given words, in upper or lower case."""

    def check_word(settings: Settings, key: str) -> None:
        value = settings[key]
        choice({key: value.lower() if isinstance(value, str) else value}, key, allowed)

    return check_word


def table(settings: Settings, key: str) -> None:
    """Check for a dictionary."""
    if not isinstance(settings[key], dict):
        raise ValueError(f"{key} must be a dictionary, got {settings[key]!r}")


def entries(given: Mapping[str, Any], key: str, checks: Mapping[str, Check]) -> None:
    """Check the entries of a dictionary; an error names the key and the entry."""
    for name, value in given.items():
        if name not in checks:
            raise ValueError(f"{key} has no {name!r}.{nearest(str(name), checks)}")
        named = f"{key}.{name}"
        checks[name]({named: value}, named)


def names(settings: Settings, key: str) -> None:
    """Check for a list of names, which may be empty."""
    if not _are_words(settings[key]):
        raise ValueError(f"{key} must be a list of names, got {settings[key]!r}")


def some_names(settings: Settings, key: str) -> None:
    """Check for one name or a list of names, which must not be empty."""
    value = settings[key]
    if not _are_words([value] if isinstance(value, str) else value) or not value:
        raise ValueError(f"{key} must be a list of names or left out, got {value!r}")


def columns(settings: Settings, key: str) -> None:
    """Check for a dictionary that gives files a list of columns or ``*``."""
    table(settings, key)
    for file, listed in settings[key].items():
        if listed != "*" and not _are_words(listed):
            raise ValueError(f"{key}.{file} must be a list of columns or '*', got {listed!r}")


def interval(settings: Settings, key: str) -> None:
    """Check for one or more intervals in RecBole's notation, such as ``[1,3);[5,inf)``."""
    value = settings[key]  # a list for [20,25] on a command line, which RecBole turns into text
    text = str(value) if isinstance(value, str | list | tuple) else ""
    if not _INTERVALS.fullmatch(text) or not _have_ends(text):
        raise ValueError(f"{key} must be an interval such as [5,inf) or (0,1], got {value!r}")


def intervals(settings: Settings, key: str) -> None:
    """Check for a dictionary that gives columns an interval."""
    table(settings, key)
    entries(settings[key], key, dict.fromkeys(settings[key], interval))


def is_number(value: Any) -> bool:
    """Whether a value is a number, but not a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(w, str) and w for w in value)


def _have_ends(text: str) -> bool:
    try:
        return all(float(end) is not None for end in re.findall(r"[^\[\](),;\s]+", text))
    except ValueError:
        return False
