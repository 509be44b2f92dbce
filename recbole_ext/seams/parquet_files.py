"""Parquet beside atomic files: ``name.inter.parquet`` is read where ``name.inter`` does not exist.

A column is named as in an atomic file (``user_id:token``), or has a plain name; then its type in
the file says what it is. Only null is a missing value.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

from recbole_ext.seams.atomic_checks import KINDS, check_feature
from recbole_ext.seams.atomic_reading import categories
from recbole_ext.seams.todays_packages import substitute

MISSING: frozenset[str | None] = frozenset([None])
SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
REMEDY = (
    "a token is a string or an integer, a float a number or a time, and a sequence a list of such"
)


def _is_file(path: str) -> bool:
    return os.path.isfile(path) or os.path.isfile(f"{path}.parquet")


# ``os`` for RecBole's data sets, which look for their files with it
SEES_PARQUET = substitute(os, path=substitute(os.path, isfile=_is_file))


def reading_either(load: Callable) -> Callable:
    """Wrap ``Dataset._load_feat``: a file that exists as Parquet only is read as such.

    If both exist, the atomic file is read, as by RecBole alone.
    """

    def load_either(dataset: Dataset, filepath: str, source: Any) -> DataFrame | None:
        parquet = Path(f"{filepath}.parquet")
        if os.path.isfile(filepath):
            if parquet.is_file():
                dataset.logger.info(
                    f"{filepath} is read, and {parquet.name} beside it is not; remove one of them"
                )
            return load(dataset, filepath, source)
        feature = _load(dataset, parquet, source)
        check_feature(dataset, parquet, feature, source)
        return feature

    return load_either


def _load(dataset: Dataset, path: Path, source: Any) -> DataFrame | None:
    """Read the columns that the settings ask for, and note their kinds as RecBole does."""
    wanted, unwanted = dataset._get_load_and_unload_col(source)
    if wanted == set():
        return None
    from pyarrow import ArrowException, default_memory_pool, parquet

    try:
        schema = parquet.read_schema(path)
        fields = _fields(dataset, path, schema)
        chosen = {
            name: kind
            for name, kind in fields.items()
            if (wanted is None or name.split(":")[0] in wanted)
            and name.split(":")[0] not in (unwanted or ())
        }
        texts = [name for name in chosen if str(schema.field(name).type) == "string"]
        file = parquet.ParquetFile(path, read_dictionary=texts)
        if file.metadata.num_rows == 0:
            raise ValueError(f"{path} has no rows")
        columns = {}
        for name, kind in chosen.items():
            columns[name] = _column(path, name, kind, file.read([name])[name])
            default_memory_pool().release_unused()
    except (ArrowException, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as Parquet ({error}): write it again, or put {path.stem} "
            "beside it"
        ) from None
    if not columns:
        dataset.logger.warning(f"No columns have been loaded from {path}")
        return None
    found = {}
    for name, kind in chosen.items():
        field, values = name.split(":")[0], columns.pop(name)
        _note(dataset, field, kind, source)
        found[field] = _cut(dataset, field, values) if kind.value.endswith("seq") else values
    return DataFrame(found, copy=False)


def _fields(dataset: Dataset, path: Path, schema: Any) -> dict[str, FeatureType]:
    """The kind of each column of a file.

    Raises:
        ValueError: names the file, the column and what is expected.
    """
    found: dict[str, FeatureType] = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        if name.startswith("__index_level_"):  # the row labels of a pandas table
            continue
        field, *given = name.split(":")
        if not field or len(given) > 1 or (given and given[0] not in KINDS):
            raise ValueError(
                f"{path}: the column {name!r} is not named name or name:type with one of the "
                f"types {', '.join(KINDS)}; rename it"
            )
        if field in [other.split(":")[0] for other in found]:
            raise ValueError(f"{path} has two columns {field}; rename one of them")
        found[name] = FeatureType(given[0]) if given else _inferred(dataset, path, field, kind)
    return found


def _inferred(dataset: Dataset, path: Path, field: str, kind: Any) -> FeatureType:
    """What a column is by its type in the file; integers are ids but for times and ratings."""
    from pyarrow import types

    numbers = (dataset.time_field, dataset.config["RATING_FIELD"], dataset.label_field)
    inner = kind.value_type if types.is_dictionary(kind) or _is_list(kind) else kind
    if types.is_integer(inner):
        number = field in numbers and not _is_list(kind)
    elif types.is_floating(inner) or types.is_decimal(inner) or types.is_temporal(inner):
        number = True
    elif _is_text(inner):
        number = False
    else:
        raise ValueError(f"{path}: the column {field} is of type {kind}; {REMEDY}")
    return FeatureType(("float" if number else "token") + ("_seq" if _is_list(kind) else ""))


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _column(path: Path, name: str, kind: FeatureType, values: Any) -> Any:
    """A column as RecBole has it in a table, before its tokens have ids."""
    import pyarrow as pa
    from pyarrow import types

    stored = values.type
    encoded = types.is_dictionary(stored)
    inner = stored.value_type if encoded or _is_list(stored) else stored
    sequence = kind.value.endswith("seq")
    number = kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
    fits = _is_number(inner) if number else _is_text(inner) or types.is_integer(inner)
    if not fits or _is_list(stored) != sequence:
        given = inner if encoded else stored
        raise ValueError(
            f"{path}: the column {name} is of type {given}, which is no {kind.value}; {REMEDY}"
        )
    if sequence:
        make = float if number else str
        rows = values.to_pylist()
        return [np.array([make(x) for x in row or () if x not in (None, "")]) for row in rows]
    if number:
        return _numbers(values.cast(inner) if encoded else values)
    if not (encoded and _is_text(inner) and stored.index_type == pa.int32()):
        values = (values.cast(inner) if encoded else values).dictionary_encode()
    blocks = [
        pa.DictionaryArray.from_arrays(block.indices, block.dictionary.cast(pa.string()))
        for block in values.chunks
    ]
    return categories(blocks, MISSING)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    common = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return common or types.is_timestamp(kind) or types.is_date(kind)


def _numbers(values: Any) -> np.ndarray:
    """Numbers as float64, times in seconds since 1970, and NaN where they are missing."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_date(values.type):
        values = values.cast(pa.timestamp("s"))
    second = SECOND[values.type.unit] if types.is_timestamp(values.type) else 1
    if types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    blocks = [block.cast(pa.float64(), safe=False) for block in values.chunks]
    return np.concatenate([block.to_numpy(zero_copy_only=False) for block in blocks]) / second


def _note(dataset: Dataset, field: str, kind: FeatureType, source: Any) -> None:
    if isinstance(source, FeatureSource) or source != "link":
        dataset.field2source[field] = source
        dataset.field2type[field] = kind
        if not kind.value.endswith("seq"):
            dataset.field2seqlen[field] = 1
        if "float" in kind.value:
            dataset.field2bucketnum[field] = 2


def _cut(dataset: Dataset, field: str, rows: list[np.ndarray]) -> list[np.ndarray]:
    """Sequences of at most the length in ``seq_len``."""
    longest = max(map(len, rows))
    limit = (dataset.config["seq_len"] or {}).get(field, longest)
    dataset.field2seqlen[field] = min(limit, longest)
    return [row[:limit] for row in rows]
