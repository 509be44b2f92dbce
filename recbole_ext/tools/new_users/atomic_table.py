"""RecBole's atomic files as tables of text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def read_atomic(path: str | Path, separator: str = "\t") -> pd.DataFrame:
    """Read an atomic file; column names lose their types, so that ``age:token`` becomes ``age``.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not a table of text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, quoting=3)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' ParserError is a ValueError
        raise ValueError(f"{path} is no atomic file: {error}") from None
    return table.rename(columns=lambda name: str(name).split(":")[0])
