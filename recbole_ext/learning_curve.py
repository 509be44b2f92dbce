"""A run's learning curve as a file beside its checkpoint, and back.

One line for each validation: ``epoch``, ``seconds`` of training and validation so far,
``train_loss``, and the validation metrics.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_ext.atomic_file import replace_text

SUFFIX = "-curve.csv"
Point = dict[str, Any]


def curve_file(checkpoint: str | Path) -> Path:
    """Where the curve of a run with such a checkpoint, its best or its last, is."""
    path = Path(checkpoint)
    return path.with_name(path.stem.removesuffix("-last") + SUFFIX)


def write_curve(points: Sequence[Point], path: Path) -> None:
    """Write all points, in the place of what is there, at once or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(points[0]))
    writer.writeheader()
    writer.writerows(points)
    replace_text(path, text.getvalue())


def read_curve(path: str | Path) -> list[Point]:
    """Read a curve; numbers as numbers.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file and the line, if it is no curve or a part of one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no learning curve {path}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows:
        raise ValueError(f"{path} is empty: run the model again")
    header, *lines = rows
    if header[:3] != ["epoch", "seconds", "train_loss"] or len(header) < 4:
        raise ValueError(f"{path} is no learning curve: it begins with {','.join(header)!r}")
    if not lines:
        raise ValueError(f"{path} has no line after its header: the run had no validation")
    return [_point(header, line, f"{path}, line {at}") for at, line in enumerate(lines, start=2)]


def _point(header: list[str], line: list[str], where: str) -> Point:
    if len(line) != len(header):
        raise ValueError(f"{where}: {len(line)} values for {len(header)} columns; remove the line")
    point: Point = {}
    for name, value in zip(header, line, strict=True):
        try:
            point[name] = int(value) if name == "epoch" else float(value)
        except ValueError:
            if name != "train_loss":  # a model that only counts has none
                raise ValueError(f"{where}: {name} is no number: {value!r}") from None
    return point
