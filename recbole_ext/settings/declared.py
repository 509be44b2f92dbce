"""Each hyper-parameter is declared once, as a field of a settings class with range and meaning.

    @dataclass(frozen=True)
    class TowerSettings(Declared):
        hidden_size: Annotated[int, whole(1), "The size of the dense layers."]

The field's name is the key. ``TowerSettings.read(config)`` checks all values and returns
them. The tables of the documentation and the comments of the yaml files are made from the same
line. The defaults are in the yaml files, where users of RecBole look for them. A field may have a
default besides: it is what the key means for a checkpoint of a version that did not have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import partial
from typing import Any, NamedTuple, TypeVar, get_type_hints

from recbole_ext.settings import reading
from recbole_ext.settings.reading import Settings

Self = TypeVar("Self", bound="Declared")


@dataclass(frozen=True)
class Kind:
    """The values that a hyper-parameter may have.

    Attributes:
        read: a function of the settings and the key that returns a plain Python value, or raises a
            ``ValueError`` that names the key and the value.
        type: the value's type in the comments of the yaml files.
        range: the values in words; empty if every value of the type is allowed.
    """

    read: Callable[[Settings, str], Any]
    type: str
    range: str = ""


class Declaration(NamedTuple):
    """One hyper-parameter: its key, its kind and its meaning, which begins with a summary."""

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
        """Read and check the settings in RecBole's ``Config`` (or a dictionary).

        Raises:
            ValueError: names the key and its value, if a value is out of range or two values
                contradict each other.
        """
        own = {field.name for field in fields(cls) if field.default is not MISSING}  # type: ignore[arg-type]
        values = {
            name: kind.read(config, name)
            for name, kind, _ in declarations(cls)
            if name in config or name not in own
        }
        settings = cls(**values)
        settings.check(config)
        return settings

    def check(self, config: Settings) -> None:
        """Refuse values that contradict each other; a settings class may override this method.

        Args:
            config: all settings, including those of other classes.
        """


def declarations(settings: type[Declared]) -> list[Declaration]:
    """The hyper-parameters of a settings class, in the order of their declaration."""
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
    """A list of whole numbers of at least ``minimum``; it may be empty."""
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
    """One of the given words."""
    range_ = ", ".join(f"`{word}`" for word in words)
    return Kind(partial(reading.choice, allowed=words), "str", range_)


def optional(kind: Kind) -> Kind:
    """A kind that also allows ``None``."""

    def read(config: Settings, key: str) -> Any:
        return None if config[key] is None else kind.read(config, key)

    return Kind(read, kind.type, f"{kind.range or 'a number'}, or empty")


FLAG = Kind(reading.flag, "bool")
SHARE = real(above=0, below=1)
NAME = Kind(reading.optional_name, "str", "a name, or empty")
