"""Repairs of RecBole 1.2.1 for packages that are younger than it.

RecBole pins Ray below 2.7. It was written for numpy 1, pandas 1 and 2, SciPy before 1.13 and
hyperopt 0.2.5, with which it runs as it is. On younger ones it fails at some places, or loses data
silently. Each repair here names its symptom, and is made only where an installed package needs it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import recbole.data.dataset.dataset
import recbole.trainer.hyper_tuning
from pandas import DataFrame, Series
from recbole.config import Config
from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset
from recbole.utils import FeatureType
from scipy.sparse import dok_matrix

# Since pandas 3 a column that is taken from a table is a copy, so that filling it in place is lost.
COLUMNS_ARE_COPIES = int(pd.__version__.split(".")[0]) >= 3
# The names that ``Config.compatibility_settings`` reads, which numpy 2 no longer has
OLD_NAMES = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}
# The methods that take the lengths of a column of sequences with ``agg(len)``
TAKE_LENGTHS = {
    Dataset: ("_normalize", "_discretization", "_remap"),
    KnowledgeBasedDataset: ("_reset_ent_remapID",),
    SequentialDataset: ("_benchmark_presets",),
}


def repair(replace: Callable[[Any, str, Callable], None]) -> None:
    """Make the repairs that the installed packages need.

    Args:
        replace: replaces a class's method by a wrapped one, once.
    """
    if not hasattr(np, "float_"):
        replace(Config, "compatibility_settings", with_old_names)
    Config.compatibility_settings(None)  # a Config from a checkpoint is made without this call
    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = _update_matrix
    if COLUMNS_ARE_COPIES:
        dataset = recbole.data.dataset.dataset
        dataset.pd = substitute(pd, read_csv=filled_sequences(pd.read_csv))
        replace(Dataset, "_fill_nan", with_filled_gaps)
        for owner, names in TAKE_LENGTHS.items():
            for name in names:
                replace(owner, name, with_lengths)
    if takes_generator():
        random = substitute(np.random, RandomState=np.random.default_rng)
        recbole.trainer.hyper_tuning.np = substitute(np, random=random)


def repair_quick_start() -> None:
    """Repair RecBole's quick start, which imports Ray, if it has been imported.

    ``objective_function`` reports its metrics as arguments; from Ray 2.7 on they are a dictionary.
    """
    module: Any = sys.modules.get("recbole.quick_start.quick_start")
    report = getattr(getattr(module, "tune", None), "report", None)
    if report is not None and "metrics" in inspect.signature(report).parameters:
        module.tune = substitute(module.tune, report=lambda **values: report(values))


def takes_generator() -> bool:
    """Whether the installed hyperopt draws with numpy's ``Generator`` instead of ``RandomState``.

    ``HyperTuning(algo="exhaustive")`` passes it a ``RandomState``, which has no ``integers``.
    """
    numbers = re.findall(r"\d+", version("hyperopt"))[:3]
    return tuple(int(number) for number in numbers) >= (0, 2, 7)


def substitute(module: Any, **names: Any) -> ModuleType:
    """A module with some names replaced; the module itself does not change."""
    found = ModuleType(module.__name__)
    found.__dict__.update(names, __getattr__=functools.partial(getattr, module))
    return found


def with_old_names(settings: Callable) -> Callable:
    """Wrap ``Config.compatibility_settings``: while it runs, numpy has the names that it reads.

    Without them building any ``Config`` fails (``np.float_ was removed``).
    """

    def compatibility_settings(config: Config | None) -> None:
        missing = {name: kind for name, kind in OLD_NAMES.items() if not hasattr(np, name)}
        for name, kind in missing.items():
            setattr(np, name, kind)
        try:
            settings(config)
        finally:
            for name in missing:
                delattr(np, name)

    return compatibility_settings


def filled_sequences(read_csv: Callable) -> Callable:
    """Wrap ``read_csv``: an empty cell of a column of sequences is an empty text.

    RecBole fills these cells in place, in a copy since pandas 3, and then splits a number.
    """

    def read_filled(*args: Any, **kwargs: Any) -> DataFrame:
        frame = read_csv(*args, **kwargs)
        for name in frame.columns:
            if str(name).endswith("_seq"):
                frame[name] = frame[name].fillna("")
        return frame

    return read_filled


def with_filled_gaps(fill: Callable) -> Callable:
    """Wrap ``Dataset._fill_nan``: missing tokens become 0 and missing numbers their mean.

    RecBole fills them in place, in a copy since pandas 3, so that they stay NaN silently.
    """

    def fill_gaps(dataset: Dataset) -> None:
        for feature in (getattr(dataset, name) for name in dataset.feat_name_list):
            for field in feature:
                kind = dataset.field2type[field]
                if kind == FeatureType.TOKEN:
                    feature[field] = feature[field].fillna(0)
                elif kind == FeatureType.FLOAT:
                    feature[field] = feature[field].fillna(feature[field].mean())
        quietly(fill)(dataset)

    return fill_gaps


def quietly(step: Callable) -> Callable:
    """Wrap a method that fills in place: pandas 3 warns that this changes a copy.

    The repairs have filled before, so that the warning is of no use.
    """
    if not COLUMNS_ARE_COPIES:
        return step
    errors: Any = pd.errors

    @functools.wraps(step)
    def step_quietly(*args: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.ChainedAssignmentError)
            return step(*args)

    return step_quietly


def with_lengths(step: Callable) -> Callable:
    """Wrap a method that calls ``agg(len)``: it gives each sequence's length, as before pandas 3.

    Since pandas 3 it is the number of rows, so that splitting a column of sequences fails.
    """

    def take_lengths(dataset: Dataset, *args: Any) -> Any:
        with _lengths_by_row():
            return step(dataset, *args)

    return take_lengths


@contextlib.contextmanager
def _lengths_by_row() -> Iterator[None]:
    column: Any = Series
    original = column.agg

    def agg(series: Any, func: Any = None, *args: Any, **kwargs: Any) -> Any:
        return series.map(len) if func is len else original(series, func, *args, **kwargs)

    column.agg = agg
    try:
        yield
    finally:
        column.agg = original


def _update_matrix(matrix: Any, values: dict) -> None:
    """``dok_matrix._update``, which SciPy no longer has; graph models fill their matrices by it."""
    matrix._dict.update(values)
