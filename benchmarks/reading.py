"""Seconds and memory until a data set and its three loaders are ready, beside RecBole's own.

    python benchmarks/reading.py --json reading.json
    python benchmarks/reading.py --ratings 25000000 --ours

Ratings are random, about as many and as skewed as MovieLens-10M's. RecBole's own reading and loops
(repaired for today's packages) and ours run in a process each, and the ids, the tensors of all
ratings, those of the three parts and the loaders' first batches are compared.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import recbole.data.dataloader.abstract_dataloader
import recbole.data.dataset.dataset
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataset import Dataset
from recbole.utils import init_seed
from synthetic import write_rated
from tabulate import tabulate
from timing import apart, arguments, forget_peak, most_memory, write

from recbole_ext.seams import faster_data
from recbole_ext.seams.todays_packages import COLUMNS_ARE_COPIES, filled_sequences, substitute

RATINGS = 11_000_000
SETTINGS = {
    "load_col": None,
    "state": "ERROR",
    "eval_args": {"split": {"RS": [8, 1, 1]}, "order": "RO", "group_by": "user", "mode": "full"},
}


def as_recbole() -> None:
    """Take out of this process what makes RecBole's data faster."""
    datasets: Any = recbole.data.dataset.dataset
    read_csv = filled_sequences(pd.read_csv) if COLUMNS_ARE_COPIES else pd.read_csv
    datasets.pd = substitute(pd, read_csv=read_csv)
    loaders: Any = recbole.data.dataloader.abstract_dataloader
    loaders.list = list
    for module in faster_data.COUNTING:
        module.Counter = Counter  # type: ignore[attr-defined]
    for owner, name, _ in faster_data.METHODS:
        setattr(owner, name, owner.__dict__[name].__wrapped__)


def measure(folder: str, own: bool) -> dict[str, Any]:
    """Make the data set and the loaders.

    Returns:
        Seconds and the largest memory in MB: ``start`` before anything is read, ``dataset``, and
        ``loaders`` (theirs alone); ``content`` names what is compared.
    """
    pa.set_cpu_count(1)
    if own:
        as_recbole()
    config = Config("BPR", "rated", config_dict={"data_path": folder, **SETTINGS})
    init_seed(config["seed"], True)
    forget_peak()
    found: dict[str, Any] = {"start": [0.0, most_memory()]}
    begun = time.perf_counter()
    dataset = create_dataset(config)
    found["dataset"] = [time.perf_counter() - begun, most_memory()]
    tokens = [_digest(dataset.field2id_token[field]) for field in ("user_id", "item_id")]
    forget_peak()
    begun = time.perf_counter()
    loaders = data_preparation(config, dataset)
    found["loaders"] = [time.perf_counter() - begun, most_memory()]
    found["ratings"] = len(dataset)
    found["content"] = [*tokens, *_content(dataset, loaders)]
    return found


def _content(dataset: Dataset, loaders: tuple) -> list[str]:
    parts = [dataset, *(loader._dataset for loader in loaders)]
    found = [_digest(part.inter_feat[field]) for part in parts for field in dataset.inter_feat]
    for loader in loaders:
        batch = next(iter(loader))
        rows = (batch,) if not isinstance(batch, tuple) else (batch[0], batch[1][1], *batch[2:])
        found += [_digest(one[f]) for one in rows[:1] for f in one.columns]
        found += [_digest(one) for one in rows[1:]]
    return found


def _digest(values: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(values)).hexdigest()


def main() -> None:
    """Measure, compare, print and write."""
    given = arguments(
        __doc__,
        ratings={"type": int, "default": RATINGS, "metavar": "N"},
        ours={"action": "store_true", "help": "without RecBole's own"},
    )
    repetitions = given.repetitions or 1
    kinds = {"ours": False} if given.ours else {"RecBole's own": True, "ours": False}
    raw: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        ratings = given.ratings // 10 if given.quick else given.ratings
        apart(1, write_rated, Path(folder, "rated"), ratings)
        for _, (name, own) in itertools.product(range(repetitions), kinds.items()):
            raw[name].append(apart(1, measure, folder, own)[0])
            print(name, {k: v for k, v in raw[name][-1].items() if k != "content"}, flush=True)
    contents = [tuple(run.pop("content")) for runs in raw.values() for run in runs]
    assert len(set(contents)) == 1, "ids, parts or batches differ"
    best = {name: min(runs, key=_total) for name, runs in raw.items()}
    rows = [[name, *_row(run)] for name, run in best.items()]
    columns = ["", "ratings", "data set, s", "GB", "loaders, s", "GB", "both, s", "bytes a rating"]
    print("\n" + tabulate(rows, columns, tablefmt="github"))
    ratios = {"seconds": _total(best["ours"]), "gb": _most(best["ours"]) / 1000}
    ratios |= {"bytes_a_rating": _bytes(best["ours"])}
    ratios["gb_at_100_million"] = best["ours"]["start"][1] / 1000 + ratios["bytes_a_rating"] / 10
    if not given.ours:
        theirs = best["RecBole's own"]
        ratios |= {"speedup": _total(theirs) / ratios["seconds"]}
        ratios |= {"memory_ratio": _most(theirs) / 1000 / ratios["gb"]}
    write(given.json, ratios, raw)


def _total(run: dict[str, Any]) -> float:
    return run["dataset"][0] + run["loaders"][0]


def _most(run: dict[str, Any]) -> float:
    return max(run["dataset"][1], run["loaders"][1])


def _bytes(run: dict[str, Any]) -> float:
    """The bytes at most that a rating adds to what the process had at the start."""
    return 1e6 * (_most(run) - run["start"][1]) / run["ratings"]


def _row(run: dict[str, Any]) -> list[str]:
    parts = [f"{x:.1f}" for k in ("dataset", "loaders") for x in (run[k][0], run[k][1] / 1000)]
    return [f"{run['ratings']:,}", *parts, f"{_total(run):.1f}", f"{_bytes(run):.0f}"]


if __name__ == "__main__":
    main()
