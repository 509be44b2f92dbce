"""Kinds of settings, as checks to be put into a table: each raises, naming key and value."""

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
    """What passes a check, or ``None``."""

    def check_if_given(settings: Settings, key: str) -> None:
        if settings[key] is not None:
            check(settings, key)

    return check_if_given


def switch(settings: Settings, key: str) -> None:
    """``True`` or ``False``, or 1 or 0, as RecBole's users write, too."""
    if settings[key] not in (0, 1):
        flag(settings, key)


def whole(minimum: int) -> Check:
    """A whole number of at least so much."""
    return partial(integer, minimum=minimum)


def seed(settings: Settings, key: str) -> None:
    """What numpy takes as a seed."""
    if integer(settings, key, minimum=0) >= 2**32:
        raise ValueError(f"{key} must be below 2**32, got {settings[key]!r}")


def word(settings: Settings, key: str) -> None:
    """A text or a path that is not empty."""
    if not isinstance(settings[key], str | os.PathLike) or not str(settings[key]):
        raise ValueError(f"{key} must be a word, got {settings[key]!r}")


def one_of(*allowed: str) -> Check:
    """One of some words, in letters of any size."""

    def check_word(settings: Settings, key: str) -> None:
        value = settings[key]
        choice({key: value.lower() if isinstance(value, str) else value}, key, allowed)

    return check_word


def table(settings: Settings, key: str) -> None:
    """A dictionary."""
    if not isinstance(settings[key], dict):
        raise ValueError(f"{key} must be a dictionary, got {settings[key]!r}")


def entries(given: Mapping[str, Any], key: str, checks: Mapping[str, Check]) -> None:
    """Check the values of a dictionary that may have some entries; the message names both."""
    for name, value in given.items():
        if name not in checks:
            raise ValueError(f"{key} has no {name!r}.{nearest(str(name), checks)}")
        named = f"{key}.{name}"
        checks[name]({named: value}, named)


def names(settings: Settings, key: str) -> None:
    """A list of names, which may be empty."""
    if not _are_words(settings[key]):
        raise ValueError(f"{key} must be a list of names, got {settings[key]!r}")


def some_names(settings: Settings, key: str) -> None:
    """One name or a list of them, but not an empty one."""
    value = settings[key]
    if not _are_words([value] if isinstance(value, str) else value) or not value:
        raise ValueError(f"{key} must be a list of names or left out, got {value!r}")


def columns(settings: Settings, key: str) -> None:
    """For some files a list of columns or ``*``."""
    table(settings, key)
    for file, listed in settings[key].items():
        if listed != "*" and not _are_words(listed):
            raise ValueError(f"{key}.{file} must be a list of columns or '*', got {listed!r}")


def interval(settings: Settings, key: str) -> None:
    """One or more intervals as RecBole writes them, such as ``[1,3);[5,inf)``."""
    value = settings[key]  # [20,25] on a command line is a list, which RecBole writes as text again
    text = str(value) if isinstance(value, str | list | tuple) else ""
    if not _INTERVALS.fullmatch(text) or not _have_ends(text):
        raise ValueError(f"{key} must be an interval such as [5,inf) or (0,1], got {value!r}")


def intervals(settings: Settings, key: str) -> None:
    """An interval for each of some columns."""
    table(settings, key)
    entries(settings[key], key, dict.fromkeys(settings[key], interval))


def is_number(value: Any) -> bool:
    """Whether a value is a number and no flag."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(w, str) and w for w in value)


def _have_ends(text: str) -> bool:
    try:
        return all(float(end) is not None for end in re.findall(r"[^\[\](),;\s]+", text))
    except ValueError:
        return False
