"""Atomic files are read by pyarrow, with what RecBole's reader (pandas in Python) makes of them.

Eleven million ratings take it two seconds. Tokens are dictionary-encoded: a column of
them is a ``pandas.Categorical``, until RecBole gives them ids. A file that pandas might understand
differently (quotation marks, an uncommon encoding, rows of different lengths) is left to it.
"""

from __future__ import annotations

import codecs
import functools
import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

# The bytes that are read at a time; a row that is longer is left to pandas.
BLOCK = 8 << 20
# What pandas reads as missing, in any of its versions.
MARKS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
# Within these bounds two correct readers find the same double in a text of up to 15 characters.
LENGTH, SMALLEST, LARGEST = 15, 1e-10, 1e22


def reading_by_arrow(read_csv: Callable[..., DataFrame]) -> Callable[..., DataFrame]:
    """Wrap ``read_csv`` as RecBole calls it: pyarrow reads what it reads as pandas does."""

    def read_either(path: str, **how: Any) -> DataFrame:
        frame = None
        if set(how) == {"delimiter", "usecols", "dtype", "encoding", "engine"}:
            encoding = how["encoding"] or "utf-8"  # pandas' default
            frame = read(path, how["delimiter"], encoding, how["dtype"])
        return read_csv(path, **how) if frame is None else frame

    return read_either


def read(path: str, separator: str, encoding: str, kinds: dict[str, type]) -> DataFrame | None:
    """Read some columns of an atomic file.

    Args:
        path: the file.
        separator: what stands between two cells.
        encoding: the file's encoding.
        kinds: the columns to read by their names in the first line, in order; the values are
            ``np.float64`` for numbers and ``str`` for others.

    Returns:
        The columns: tokens are categorical, numbers float64, sequences texts that are still to be
        split (empty if they are missing). None if only pandas knows how to read the file.
    """
    from pyarrow import ArrowException, default_memory_pool

    names = _names(path, separator, encoding)
    if not names or not set(kinds) <= set(names):
        return None
    odd: set[str] = set()
    while True:
        try:
            return _frame(path, names, separator, kinds, odd)
        except _OddNumberError as found:
            odd.add(str(found))
        except (ArrowException, ValueError, TypeError, OverflowError):
            return None
        finally:
            default_memory_pool().release_unused()


class _OddNumberError(Exception):
    """A column whose numbers pandas reads in its own way; its name is the message."""


def _names(path: str, separator: str, encoding: str) -> list[str]:
    """The cells of the first line; none if pandas has to read the file."""
    alike = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    if not alike or len(separator) != 1 or not separator.isascii() or separator in '"\r\n\0':
        return []
    with open(path, "rb") as file:
        if not _plain(iter(functools.partial(file.read, BLOCK), b"")):
            return []
    with open(path, encoding=encoding) as file:
        names = file.readline().rstrip("\n").split(separator)
    return names if len(names) > 1 else []  # pandas drops a lone cell of spaces


def _plain(blocks: Iterable[bytes]) -> bool:
    """Whether a file is UTF-8 without quotations and zero bytes, with common ends of lines."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    last, returns, ends = b"", 0, 0
    for block in blocks:
        if b'"' in block or b"\0" in block:
            return False
        if decoder.getstate()[0] or not block.isascii():
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                return False
        returns += block.count(b"\r") if b"\r" in block else 0
        ends += block.count(b"\r\n") if b"\r" in block else 0
        ends += int(last == b"\r" and block[:1] == b"\n")
        last = block[-1:]
    return returns == ends and not decoder.getstate()[0]


def _frame(
    path: str, names: list[str], separator: str, kinds: dict[str, type], odd: set[str]
) -> DataFrame:
    import pyarrow as pa
    from pyarrow import csv

    tokens = [name for name in kinds if kinds[name] is str and not name.endswith("_seq")]
    types = {name: pa.string() for name in kinds}
    types |= dict.fromkeys(tokens, pa.dictionary(pa.int32(), pa.string()))
    blocks = csv.open_csv(
        path,
        csv.ReadOptions(column_names=names, skip_rows=1, block_size=BLOCK),
        csv.ParseOptions(delimiter=separator, quote_char=False, double_quote=False),
        csv.ConvertOptions(
            check_utf8=False,
            column_types=types,
            include_columns=list(kinds),
            null_values=[],
            strings_can_be_null=False,
        ),
    )
    found: dict[str, list[Any]] = {name: [] for name in kinds}
    for block in blocks:
        for name in kinds:
            column = block.column(name)
            if kinds[name] is np.float64 and name not in odd:
                column = _numbers(column)
                if column is None:
                    raise _OddNumberError(name)
            found[name].append(column)
    finish: dict[str, Callable] = dict.fromkeys(kinds, functools.partial(_texts, missing=""))
    finish |= dict.fromkeys(tokens, functools.partial(categories, missing=missing_marks()))
    finish |= {name: np.concatenate for name in kinds if kinds[name] is np.float64}
    finish |= dict.fromkeys(odd, _odd_numbers)
    return DataFrame({name: finish[name](found.pop(name)) for name in kinds}, copy=False)


def _numbers(texts: Any) -> np.ndarray | None:
    """Texts as float64, shape: [rows]; None if pandas might read one of them differently."""
    import pyarrow as pa
    from pyarrow import compute

    try:
        values = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        missing = compute.is_in(texts, value_set=pa.array(sorted(missing_marks())))
        try:
            values = compute.if_else(missing, None, texts).cast(pa.float64())
        except pa.ArrowInvalid:
            return None
    numbers = values.to_numpy(zero_copy_only=False)
    size = np.abs(numbers)
    alike = (size >= SMALLEST) & (size <= LARGEST) | (size == 0) & ~np.signbit(numbers)
    longest = compute.max(compute.binary_length(texts)).as_py() or 0
    return numbers if longest <= LENGTH and (alike | np.isnan(size)).all() else None


def _odd_numbers(blocks: list[Any]) -> np.ndarray:
    """Texts as float64 by pandas' own conversion, shape: [rows].

    Raises:
        ValueError: if it leaves this to Python.
    """
    values = pd.to_numeric(_texts(blocks))
    if values.dtype.kind not in "iuf":
        raise ValueError("no numbers")
    return values.astype(np.float64)


def _texts(blocks: list[Any], missing: str | float = np.nan) -> np.ndarray:
    """Texts as Python's, with a value where they are missing, shape: [rows]."""
    texts = np.concatenate([block.to_numpy(zero_copy_only=False) for block in blocks])
    marks = missing_marks()
    texts[[text in marks for text in texts]] = missing
    return texts


def categories(blocks: list[Any], missing: frozenset[str | None]) -> pd.Categorical:
    """Dictionary-encoded texts as pandas' categories; some of them are missing values."""
    import pyarrow as pa

    chunks = pa.chunked_array(blocks).unify_dictionaries().chunks
    names = chunks[-1].dictionary.to_pylist()
    codes = np.concatenate([chunk.indices.fill_null(-1).to_numpy() for chunk in chunks])
    known = np.array([name not in missing for name in names], dtype=bool)
    if not known.all():
        new = np.append(np.where(known, np.cumsum(known) - 1, -1), -1)
        codes = new[codes]
        names = [name for name, kept in zip(names, known, strict=True) if kept]
    return pd.Categorical.from_codes(codes, pd.Index(names, dtype=object))


@functools.cache
def missing_marks() -> frozenset[str]:
    """The texts that the installed pandas reads as missing."""
    text = "mark,\n" + "".join(f"{mark},\n" for mark in MARKS)
    marked = pd.read_csv(io.StringIO(text), dtype=str, usecols=["mark"])["mark"].isna()
    return frozenset(mark for mark, missing in zip(MARKS, marked, strict=True) if missing)


def joining_categories(concat: Callable[..., DataFrame]) -> Callable[..., DataFrame]:
    """Wrap ``concat``: tokens of several files stay categorical."""

    def concat_categories(frames: list[Any], **how: Any) -> DataFrame:
        frames = [frame.copy(deep=False) for frame in frames]
        for name in frames[0]:
            columns = [frame.get(name) for frame in frames]
            if all(isinstance(getattr(c, "dtype", None), pd.CategoricalDtype) for c in columns):
                joined = pd.api.types.union_categoricals([column.array for column in columns])
                for frame, column in zip(frames, columns, strict=True):
                    frame[name] = column.cat.set_categories(joined.categories)
        return concat(frames, **how)

    return concat_categories
