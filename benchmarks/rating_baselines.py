"""The baselines of rating prediction: the mean, biases, and biases with a factorisation.

    python benchmarks/rating_baselines.py ml-100k

The splits are those that ``compare.py`` gives to ResNetMF for the same seeds. The validation RMSE
selects the shrinkage of the biases, and the size and regularisation strength of the factorisation.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from compare import spread
from recbole.config import Config
from recbole.data import create_dataset
from recbole.utils import init_seed
from tabulate import tabulate
from torch import Tensor

import recbole_ext  # noqa: F401 (registers the models)
from recbole_ext.meta.adapting.biases import item_biases, shrunk_means
from recbole_ext.meta.adapting.factorization import factors

SHRINKAGES = (1.0, 3.0, 5.0, 10.0)
SIZES = (8, 16, 32)
STRENGTHS = (5.0, 10.0, 20.0, 40.0)
Columns = tuple[Tensor, Tensor, Tensor]


class Biases:
    """Ratings ``mean + b_user + b_item``, with shrunk biases."""

    def __init__(self, train: Columns, rows: tuple[int, int], shrinkage: tuple[float, float]):
        users, items, ratings = train
        nothing = torch.zeros(rows[1])
        self.mean, self.of_item = item_biases(users, items, ratings, nothing, shrinkage)
        rest = ratings - self.mean - self.of_item[items]
        self.of_user = shrunk_means(users, rest, rows[0], shrinkage[0])

    def __call__(self, users: Tensor, items: Tensor) -> Tensor:
        """Predicted ratings, shape: [n]."""
        return self.mean + self.of_user[users] + self.of_item[items]


class Factorised:
    """Biases plus a factorisation of their residuals, by alternating ridge regression."""

    def __init__(self, biases: Biases, train: Columns, n_items: int, size: int, strength: float):
        users, items, ratings = train
        rest = ratings - biases(users, items)
        self.biases = biases
        self.of_user, self.of_item = factors(users, items, rest, n_items, size, strength)

    def __call__(self, users: Tensor, items: Tensor) -> Tensor:
        """Predicted ratings, shape: [n]."""
        return self.biases(users, items) + (self.of_user[users] * self.of_item[items]).sum(-1)


def columns(dataset: Any) -> Columns:
    """Users, items and ratings of one part of the split, each of shape: [n]."""
    rows = dataset.inter_feat
    return rows["user_id"], rows["item_id"], rows["rating"]


def errors(predict: Any, part: Columns) -> tuple[float, float]:
    """RMSE and MAE of predictions, clipped to the range from 1 to 5."""
    users, items, ratings = part
    off = predict(users, items).clamp(1, 5) - ratings
    return off.square().mean().sqrt().item(), off.abs().mean().item()


def best(candidates: Iterable[Any], valid: Columns) -> Any:
    """The candidate with the lowest validation RMSE."""
    return min(candidates, key=lambda candidate: errors(candidate, valid)[0])


def baselines(dataset: str, seed: int, given: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Test RMSE and MAE of each baseline, on the split of one seed."""
    config = Config("ResNetMF", dataset, config_dict={"seed": seed, "state": "ERROR", **given})
    init_seed(seed, True)
    parts = create_dataset(config).build()
    train, valid, test = map(columns, parts)
    rows = parts[0].user_num, parts[0].item_num
    mean = train[2].mean()
    shrunk = itertools.product(SHRINKAGES, SHRINKAGES)
    biases = best((Biases(train, rows, shrinkage) for shrinkage in shrunk), valid)
    sizes = itertools.product(SIZES, STRENGTHS)
    both = best((Factorised(biases, train, rows[1], *choice) for choice in sizes), valid)
    return {
        "mean rating": errors(lambda users, items: mean.expand(len(users)), test),
        "biases": errors(biases, test),
        "biases + factorisation (ALS)": errors(both, test),
    }


def main() -> None:
    """Print a row for each baseline."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("dataset")
    parser.add_argument("--data_path", help="the folder that holds the dataset's folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022])
    options = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    torch.set_num_threads(1)
    given = {"data_path": str(Path(options.data_path))} if options.data_path else {}
    found = [baselines(options.dataset, seed, given) for seed in options.seeds]
    rows = [
        (name, len(found), *(spread([run[name][at] for run in found]) for at in range(2)))
        for name in found[0]
    ]
    headers = ("", "seeds", "test rmse", "test mae")
    print(tabulate(rows, headers, disable_numparse=True, tablefmt="github"))


if __name__ == "__main__":
    main()
