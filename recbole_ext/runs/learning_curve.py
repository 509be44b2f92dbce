"""Writing and reading a run's learning curve, a csv file beside the checkpoint.

The file has one line for each validation, with the ``epoch``, the ``seconds`` of training and
validation so far, the ``train_loss`` and the validation metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.errors import EmptyDataError, ParserError

from recbole_ext.runs.atomic_file import replace_text

SUFFIX = "-curve.csv"
Point = dict[str, Any]


def curve_file(checkpoint: str | Path) -> Path:
    """The path of a run's curve, given its best or its last checkpoint."""
    path = Path(checkpoint)
    return path.with_name(path.stem.removesuffix("-last") + SUFFIX)


def write_curve(points: Sequence[Point], path: Path) -> None:
    """Replace a curve file by these points, completely or not at all."""
    replace_text(path, pd.DataFrame(points, columns=list(points[0])).to_csv(index=False))


def read_curve(path: str | Path) -> list[Point]:
    """Read a curve, with its values as numbers.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: names the file and the line, if the file is not a complete curve.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no learning curve {path}")
    table = _text_of(path)
    header = [str(name) for name in table.columns]
    if header[:3] != ["epoch", "seconds", "train_loss"] or len(header) < 4:
        raise ValueError(f"{path} is no learning curve: it begins with {','.join(header)!r}")
    if table.empty:
        raise ValueError(f"{path} has no line after its header: the run had no validation")
    rows = [dict(zip(header, cells, strict=True)) for cells in table.itertuples(index=False)]
    for line, row in enumerate(rows, start=2):
        _check_row(row, f"{path}, line {line}")
    return [{name: _number(name, text) for name, text in row.items() if _is_number(text)}
            for row in rows]  # fmt: skip


def _text_of(path: Path) -> pd.DataFrame:
    """The cells of a csv file as text; cells missing at the end of a line are empty."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except EmptyDataError:
        raise ValueError(f"{path} is empty: run the model again") from None
    except ParserError as error:
        raise ValueError(f"{path} has a line with too many values ({error}); remove it") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first column for an index
        raise ValueError(f"{path} has a line with too many values; remove it")
    return table


def _check_row(row: dict[str, Any], where: str) -> None:
    needed = {name: text for name, text in row.items() if name != "train_loss"}  # Pop has no loss
    missing = sum(not text for text in needed.values())
    if missing:
        values = len(row) - missing
        raise ValueError(f"{where}: {values} values for {len(row)} columns; remove the line")
    for name, text in needed.items():
        if not _is_number(text):
            raise ValueError(f"{where}: {name} is no number: {text!r}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(name: str, text: str) -> float:
    return int(text) if name == "epoch" else float(text)
