"""Checks of atomic files: an error names the file and what is wrong with it."""

from __future__ import annotations

import csv
import locale
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame, read_csv, to_numeric
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

KINDS = [kind.value for kind in FeatureType]


def reading_checked(load_feat: Callable) -> Callable:
    """Wrap ``Dataset._load_feat``: an error names the file that cannot be read, and the reason."""

    def load_checked(dataset: Dataset, filepath: str, source: Any) -> DataFrame | None:
        path = Path(filepath)
        check_header(path, dataset.config["field_separator"], dataset.config["encoding"])
        try:
            feature = load_feat(dataset, filepath, source)
        except UnicodeError as error:
            raise _no_text(path, dataset.config["encoding"], error) from None
        except (ValueError, TypeError) as error:  # pandas' ParserError is a ValueError
            separator, encoding = dataset.config["field_separator"], dataset.config["encoding"]
            where = _lone_quote(path, encoding) or _no_number(path, separator, encoding) or error
            raise ValueError(
                f"{path} cannot be read as an atomic file ({where}): check that row, the types "
                "in the first one, and field_separator"
            ) from error
        check_feature(dataset, path, feature, source)
        return feature

    return load_checked


def check_feature(dataset: Dataset, path: Path, feature: DataFrame | None, source: Any) -> None:
    """Refuse a file without ids, or with infinite numbers.

    Raises:
        ValueError: names the file, the column and what is expected.
    """
    _check_ids(dataset, path, feature, source)
    if feature is not None:
        _check_columns(dataset, path, feature)


def check_header(path: Path, separator: str, encoding: str | None) -> None:
    """Refuse a file whose first line does not name its columns and their types.

    Raises:
        ValueError: names the file, what its first line contains and what is expected.
    """
    try:
        with path.open(encoding=encoding) as file:
            cells = file.readline().rstrip("\n").split(separator)
            first = next((line for line in file if line.strip("\n")), None)
    except (UnicodeError, LookupError) as error:
        raise _no_text(path, encoding, error) from None
    if first is None:
        raise ValueError(f"{path}: nothing stands after the first line")
    if cells[0].startswith("\ufeff"):
        raise ValueError(f"{path} begins with a byte order mark; set encoding: utf-8-sig")
    names = [cell.split(":")[0] for cell in cells]
    for cell, name in zip(cells, names, strict=True):
        if cell.count(":") != 1 or cell.split(":")[1] not in KINDS or not name:
            raise ValueError(
                f"{path}: the first line has {cell!r}, which is not name:type with one of the "
                f"types {', '.join(KINDS)}; check the line, and field_separator: {separator!r}"
            )
        if names.count(name) > 1:
            raise ValueError(f"{path}: the first line names {name} twice; rename one of them")
    width = _cells(first, separator)
    if width > len(cells):  # pandas would take the first column for an index
        raise ValueError(
            f"{path}: its first row has {width} cells, the first line names {len(cells)} columns; "
            "name them all"
        )


def _no_text(path: Path, encoding: str | None, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is no text in encoding {encoding or locale.getpreferredencoding(False)}: "
        f"{error}; set encoding, as in encoding: latin-1"
    )


def _cells(line: str, separator: str) -> int:
    """The number of cells in a line; 0 if a quoted cell goes on in the next line."""
    if line.count('"') % 2:
        return 0
    if len(separator) > 1:
        return line.count(separator) + 1
    return len(next(csv.reader([line], delimiter=separator)))


def sorting_checked(sort: Callable) -> Callable:
    """Wrap ``Dataset.sort``: what orders by time needs times, in a column of numbers."""

    def sort_checked(dataset: Dataset, by: Any, *args: Any, **kwargs: Any) -> None:
        field = dataset.time_field
        if field is not None and field in ([by] if isinstance(by, str) else by):
            where = f"dataset {dataset.dataset_name}: order: TO needs the column {field}"
            if field not in dataset.inter_feat:
                raise ValueError(
                    f"{where}, which is not loaded; check load_col, TIME_FIELD and the file's "
                    "first line"
                )
            if dataset.field2type[field] == FeatureType.TOKEN:
                raise ValueError(
                    f"{where} as numbers, but it is of type token, which has no order; write "
                    f"{field}:float into the file's first line"
                )
        sort(dataset, by, *args, **kwargs)

    return sort_checked


def preparing_checked(prepare: Callable) -> Callable:
    """Wrap a step of RecBole's preparation: an error that no other check found names the data."""

    def prepare_checked(dataset: Dataset, *args: Any) -> Any:
        try:
            return prepare(dataset, *args)
        except (TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"dataset {dataset.dataset_name}: RecBole cannot prepare the files in "
                f"{dataset.config['data_path']} ({type(error).__name__}: {error}): check their "
                "columns and types, and the settings that name columns"
            ) from error

    return prepare_checked


def _check_ids(dataset: Dataset, path: Path, feature: DataFrame | None, source: Any) -> None:
    """Refuse a file without its id columns.

    A data set always needs interactions. It may lack a file of features, but such a file must have
    the ids.
    """
    uid, iid = dataset.uid_field, dataset.iid_field
    if source == FeatureSource.INTERACTION:
        wanted, hint = [uid, iid], ", load_col, USER_ID_FIELD and ITEM_ID_FIELD"
    else:
        ids = {FeatureSource.USER: [uid], FeatureSource.ITEM: [iid]}
        wanted, hint = ids.get(source, []) if feature is not None else [], " and load_col"
    found = [] if feature is None else list(feature.columns)
    missing = [name for name in wanted if name not in found]
    if missing:
        place = "names of its columns" if path.suffix == ".parquet" else "file's first line"
        raise ValueError(
            f"{path}: no column {' and '.join(missing)} among the loaded ones "
            f"({', '.join(found) or 'none'}); check the {place}{hint}"
        )


def _check_columns(dataset: Dataset, path: Path, feature: DataFrame) -> None:
    for field in feature.columns:
        kind = dataset.field2type[field]
        if field in (dataset.uid_field, dataset.iid_field) and kind != FeatureType.TOKEN:
            raise ValueError(f"{path}: {field} must be of type token, as in {field}:token")
        if kind == FeatureType.FLOAT:
            _check_finite(path, field, feature[field].to_numpy())


def _lone_quote(path: Path, encoding: str | None) -> str | None:
    """A description of the last row that opens a quotation, where one is never closed."""
    opened = 0
    with path.open(encoding=encoding) as file:
        for at, line in enumerate(file):
            if line.count('"') % 2:
                opened = 0 if opened else at
    return f'row {opened} has a " without its pair' if opened else None


def _no_number(path: Path, separator: str, encoding: str | None) -> str | None:
    """A description of the first cell that should be a number but is not."""
    try:
        cells = read_csv(path, sep=separator, dtype=str, encoding=encoding, engine="python")
    except ValueError:
        return None
    for column in cells.columns[cells.columns.str.endswith(":float")]:
        wrong = cells[column].notna() & to_numeric(cells[column], errors="coerce").isna()
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            return f"{column} is {cells[column].iloc[at]!r} in row {at + 1}"
    return None


def _check_finite(path: Path, field: str, values: np.ndarray) -> None:
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.flatnonzero(infinite)[0]) + 1
        raise ValueError(
            f"{path}: {field} is infinite in row {row}; leave it empty, or leave the column out "
            "(unload_col)"
        )
