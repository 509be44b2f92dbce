"""Writing and reading a run's learning curve, a csv file beside the checkpoint.

The file has one line for each validation, with the ``epoch``, the ``seconds`` of training and
validation so far, the ``train_loss`` and the validation metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_ext.runs.atomic_file import replace_text

SUFFIX = "-curve.csv"
Point = dict[str, Any]


def curve_file(checkpoint: str | Path) -> Path:
    """The path of a run's curve, given its best or its last checkpoint."""
    path = Path(checkpoint)
    return path.with_name(path.stem.removesuffix("-last") + SUFFIX)


def write_curve(points: Sequence[Point], path: Path) -> None:
    """Replace a curve file by these points, completely or not at all."""
    names = list(points[0])
    rows = [["" if point.get(n) is None else point[n] for n in names] for point in points]
    table = pd.DataFrame(rows, columns=names, dtype=object)  # keeps whole numbers whole
    replace_text(path, table.to_csv(index=False, na_rep="nan", lineterminator="\r\n"))


def read_curve(path: str | Path) -> list[Point]:
    """Read a curve, with its values as numbers.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: names the file and the line, if the file is not a complete curve.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no learning curve {path}")
    text = path.read_text(encoding="utf-8")
    rows = [line.split(",") if line else [] for line in text.splitlines()]
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
            if name != "train_loss":  # a model that only counts, such as Pop, has none
                raise ValueError(f"{where}: {name} is no number: {value!r}") from None
    return point
