"""A space of hyper-parameters, read from RecBole's params file; nothing in it runs as code."""

from __future__ import annotations

import ast
import itertools
import math
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("choice", "uniform", "quniform", "loguniform")
_NUMBERS = {"uniform": 2, "quniform": 3, "loguniform": 2}
# A text must look like a word or a path: RecBole would read another one as a number or a list.
_PLAIN = re.compile(r"([A-Za-z_/.][\w+\-.@/ ]*)?")
INSIDE = 1e-3  # a check tries values this far inside an interval: its ends are hardly ever drawn
Setting = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One line of the file.

    Attributes:
        name: name of the hyper-parameter.
        kind: ``choice``; ``uniform`` low, high; ``quniform`` low, high, step; or ``loguniform``
            low, high, the natural logarithms of the ends.
        values: the values of a choice, or the numbers of another kind.
    """

    name: str
    kind: str
    values: tuple[Any, ...]

    def draw(self, generator: random.Random) -> Any:
        """A random value."""
        if self.kind == "choice":
            return generator.choice(self.values)
        value = generator.uniform(self.values[0], self.values[1])
        if self.kind == "loguniform":
            return math.exp(value)
        return self.settle(value)

    def settle(self, value: Any) -> Any:
        """Move a value onto the grid of ``quniform``, whose values are whole if its numbers are."""
        if self.kind != "quniform":
            return value
        low, high, step = self.values
        on_grid = min(max(round(value / step) * step, low), high)
        return int(on_grid) if all(float(v).is_integer() for v in self.values) else on_grid

    def ends(self) -> list[Any]:
        """Every value of a choice, or two values near the ends of an interval."""
        if self.kind == "choice":
            return list(self.values)
        low, high = self.values[:2]
        if self.kind == "quniform":
            return [self.settle(low), self.settle(high)]
        margin = INSIDE * (high - low)
        ends = [low + margin, high - margin]
        return [math.exp(end) for end in ends] if self.kind == "loguniform" else ends


Space = list[Parameter]


def read_space(path: str | Path) -> Space:
    """Read a params file: lines such as ``learning_rate choice [0.01,0.001]``.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: names the file and a line that cannot be read; or the file has no line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no params file {path}")
    space: Space = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            parameter = _parameter(line)
            if parameter.name in {known.name for known in space}:
                raise ValueError(f"{parameter.name} is given twice")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        space.append(parameter)
    if not space:
        raise ValueError(f"{path} names no hyper-parameter: write lines such as {_EXAMPLE}")
    return space


_EXAMPLE = "`learning_rate choice [0.01,0.001]`"


def every(space: Space) -> list[Setting]:
    """Every combination of a space of choices."""
    names = [parameter.name for parameter in space]
    values = [parameter.values for parameter in space]
    return [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]


def sample(space: Space, count: int, seed: int) -> list[Setting]:
    """Different random combinations, ``count`` or all there are; a seed always gives the same."""
    generator, found, seen = random.Random(seed), [], set()
    for _ in range(20 * count):
        setting = {parameter.name: parameter.draw(generator) for parameter in space}
        if str(setting) not in seen:
            seen.add(str(setting))
            found.append(setting)
        if len(found) == count:
            break
    return found


def is_finite(space: Space) -> bool:
    """Whether every parameter is a choice."""
    return all(parameter.kind == "choice" for parameter in space)


def _parameter(line: str) -> Parameter:
    name, kind, rest = ([*line.split(maxsplit=2), "", "", ""])[:3]
    if kind not in KINDS:
        raise ValueError(
            f"a line is `name kind values`, as in {_EXAMPLE}, with a kind out of "
            f"{', '.join(KINDS)}; got {line.strip()!r}"
        )
    if kind == "choice":
        return Parameter(name, kind, _choices(rest))
    numbers = tuple(_number(value) for value in rest.split(","))
    if len(numbers) != _NUMBERS[kind] or not numbers[0] < numbers[1]:
        raise ValueError(f"{kind} takes {_NUMBERS[kind]} numbers, low before high; got {rest!r}")
    if kind == "quniform" and numbers[2] <= 0:
        raise ValueError(f"the step of quniform must be above 0; got {rest!r}")
    return Parameter(name, kind, numbers)


def _choices(text: str) -> tuple[Any, ...]:
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError(
            f"the values of a choice are a list of plain values, as in [0.01,'adam']; got {text!r}"
        ) from None
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"a choice needs a list of at least one value; got {text!r}")
    values = [_literal(value) for value in values]
    for value in _plain_parts(values):
        if isinstance(value, str) and not _PLAIN.fullmatch(value):
            raise ValueError(
                f"a word begins with a letter and has letters, digits and + - . @ / only; got "
                f"{value!r}"
            )
    return tuple(values)


def _literal(value: Any) -> Any:
    """A list or number that stands in quotes, as RecBole's pages write it: ``'[32, 16]'``."""
    if not isinstance(value, str) or _PLAIN.fullmatch(value):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _plain_parts(value: Any) -> list[Any]:
    """The numbers and words that a value is made of."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return [part for each in value for part in _plain_parts(each)]
    if value is None or isinstance(value, str | int | float):
        return [value]
    raise ValueError(f"a value is a number, a word, a list or a dictionary of those; got {value!r}")


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text.strip()!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()!r} is no finite number")
    return number
