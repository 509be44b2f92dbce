"""The elements of a report and the page that is made of them; all shown text is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined

NOTHING = "–"
LONG = 60  # characters: such a text needs a wide column, on a phone too


@dataclass(frozen=True)
class Cell:
    """One value of a table, as text; numbers are aligned right, the best of a kind is bold."""

    text: str
    is_number: bool = False
    is_best: bool = False

    @property
    def kind(self) -> str:
        """The layout of the cell: ``number``, ``long`` or ``text``."""
        return "number" if self.is_number else "long" if len(self.text) > LONG else "text"


def cell(value: Any, form: str = ".4f", best: bool = False) -> Cell:
    """A value as a cell: numbers in the given form, whole ones with commas, missing ones a dash."""
    if isinstance(value, Cell):
        return value
    missing = value is None or (isinstance(value, Real) and math.isnan(float(value)))
    if missing:
        return Cell(NOTHING, is_number=True)
    if isinstance(value, bool) or not isinstance(value, Real):
        return Cell(str(value))
    text = f"{int(value):,}" if isinstance(value, Integral) else f"{float(value):{form}}"
    return Cell(text, True, best)


@dataclass(frozen=True)
class Table:
    """Rows under a header; ``marked`` has the numbers of the rows that are highlighted."""

    kind: ClassVar[str] = "table"
    columns: list[str]
    rows: list[list[Cell]]
    caption: str = ""
    marked: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        rows: Sequence[Mapping[str, Any]],
        caption: str = "",
        form: str = ".4f",
        marked: Iterable[int] = (),
    ) -> Table:
        """A table of dictionaries; a row may lack a column."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[cell(row.get(name), form) for name in columns] for row in rows]
        return cls(columns, cells, caption, frozenset(marked))

    def is_numeric(self, column: int) -> bool:
        """Whether a column's header is aligned right."""
        return bool(self.rows) and all(row[column].is_number for row in self.rows)


@dataclass(frozen=True)
class Chart:
    """A picture inside the page: ``source`` is a ``data:`` address, ``alt`` says what it shows."""

    kind: ClassVar[str] = "chart"
    source: str
    alt: str


@dataclass(frozen=True)
class Note:
    """A sentence."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Facts:
    """Names with a value each."""

    kind: ClassVar[str] = "facts"
    values: list[tuple[str, Cell]]

    @classmethod
    def of(cls, values: Mapping[str, Any], form: str = ".4f") -> Facts:
        """Facts of a dictionary."""
        return cls([(name, cell(value, form)) for name, value in values.items()])


@dataclass(frozen=True)
class Code:
    """Text to copy, as it is."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Folded:
    """Blocks that open when their summary is clicked."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: list[Block]


Block: TypeAlias = Table | Chart | Note | Facts | Code | Folded


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        key: name of the section within its run, for the page's addresses.
        title: heading of the section.
        meaning: explains to a newcomer what the section shows and how to read it.
        blocks: content of the section.
    """

    key: str
    title: str
    meaning: str
    blocks: list[Block]


@dataclass(frozen=True)
class Chapter:
    """The sections on one run, or on all runs together."""

    title: str
    subtitle: str
    facts: Facts
    sections: list[Section]


def render(title: str, subtitle: str, chapters: Sequence[Chapter]) -> str:
    """The page as HTML, in one file that has no scripts and fetches nothing."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html")
    return page.render(title=title, subtitle=subtitle, chapters=chapters)
