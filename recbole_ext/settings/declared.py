"""A hyper-parameter is declared once: a field of a settings class, its range and meaning beside it.

    @dataclass(frozen=True)
    class TowerSettings(Declared):
        hidden_size: Annotated[int, whole(1), "The size of the dense layers."]

The field's name is the key. ``TowerSettings.read(config)`` checks each value and gives them all.
The tables of the documentation and the comments of the yaml files come from the same line. The
defaults stand in the yaml files, where users of RecBole look for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar, get_type_hints

from recbole_ext.settings import reading
from recbole_ext.settings.reading import Settings

Self = TypeVar("Self", bound="Declared")


@dataclass(frozen=True)
class Kind:
    """Which values a hyper-parameter may have.

    Attributes:
        read: takes the settings and the key; returns the value as a plain Python value, or raises a
            ``ValueError`` that names key and value.
        type: the value's type in the comments of the yaml files.
        range: the values in words; empty where the type says it all.
    """

    read: Callable[[Settings, str], Any]
    type: str
    range: str = ""


class Declaration(NamedTuple):
    """One hyper-parameter: its key, its kind and its meaning; the first sentence is the gist."""

    name: str
    kind: Kind
    meaning: str

    @property
    def short(self) -> str:
        """The first sentence of the meaning."""
        first, dot, _ = self.meaning.partition(". ")
        return first + dot.strip()


class Declared:
    """A dataclass whose fields are hyper-parameters."""

    @classmethod
    def read(cls: type[Self], config: Settings) -> Self:
        """Take the settings from RecBole's ``Config`` (or a dictionary).

        Raises:
            ValueError: naming the key and its value, if one is out of range or two contradict.
        """
        values = {name: kind.read(config, name) for name, kind, _ in declarations(cls)}
        settings = cls(**values)
        settings.check(config)
        return settings

    def check(self, config: Settings) -> None:
        """Refuse values that contradict one another; a settings class may override this.

        Args:
            config: all settings, those of other classes included.
        """


def declarations(settings: type[Declared]) -> list[Declaration]:
    """The hyper-parameters that a settings class declares, in its order."""
    hints = get_type_hints(settings, include_extras=True)
    return [Declaration(name, *hint.__metadata__) for name, hint in hints.items()]


def whole(minimum: int) -> Kind:
    """A whole number of at least ``minimum``."""
    return Kind(partial(reading.integer, minimum=minimum), "int", f"at least {minimum}")


def all_or_whole(minimum: int) -> Kind:
    """The word ``all``, which is read as ``None``, or a whole number of at least ``minimum``."""
    read = partial(reading.all_or_integer, minimum=minimum)
    return Kind(read, "str", f"`all`, or at least {minimum}")


def some_whole(minimum: int) -> Kind:
    """A list, which may be empty, of whole numbers of at least ``minimum``."""
    return Kind(partial(reading.integers, minimum=minimum), "list", f"each at least {minimum}")


def real(
    minimum: float = -math.inf,
    above: float = -math.inf,
    maximum: float = math.inf,
    below: float = math.inf,
) -> Kind:
    """A finite number within bounds, as :func:`recbole_ext.settings.reading.real` reads it."""
    read = partial(reading.real, minimum=minimum, above=above, maximum=maximum, below=below)
    return Kind(read, "float", reading.bounds_in_words(minimum, above, maximum, below))


def one_of(*words: str) -> Kind:
    """One word out of a closed list."""
    range_ = ", ".join(f"`{word}`" for word in words)
    return Kind(partial(reading.choice, allowed=words), "str", range_)


def optional(kind: Kind) -> Kind:
    """A value of a kind, or ``None``."""

    def read(config: Settings, key: str) -> Any:
        return None if config[key] is None else kind.read(config, key)

    return Kind(read, kind.type, f"{kind.range or 'a number'}, or empty")


FLAG = Kind(reading.flag, "bool")
SHARE = real(above=0, below=1)
NAME = Kind(reading.optional_name, "str", "a name, or empty")
