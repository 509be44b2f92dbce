"""Functions that set a share of the training or validation ratings aside for λ."""

from __future__ import annotations

import numpy as np
import pandas as pd
from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader, TrainDataLoader
from recbole.data.dataset import Dataset


def split_training(loader: TrainDataLoader, ratio: float) -> tuple[TrainDataLoader, Dataset]:
    """Split a training loader's ratings into a smaller loader and a holdout.

    The last ``round(ratio · n)`` of each user's ``n`` ratings are held out, but never all of them.
    The order is that of RecBole's split (random or by time). The loader keeps its sampler, so that
    held-out items are never drawn as negatives and are masked in evaluation.

    Args:
        loader: RecBole's training loader; it is not changed.
        ratio: share of each user's ratings to hold out, above 0 and below 1.

    Returns:
        A loader over the ratings that are left, and the dataset of the held-out ones.

    Raises:
        ValueError: if no user has enough ratings to give one up.
    """
    by_user = _users(loader._dataset).pipe(lambda users: users.groupby(users))
    from_the_end = by_user.cumcount(ascending=False).to_numpy()
    ratings = by_user.transform("size").to_numpy()
    held_out = from_the_end < np.minimum(np.round(ratio * ratings), ratings - 1)
    if not held_out.any():
        raise ValueError(
            f"lambda_holdout_ratio: {ratio} leaves nothing to learn λ from, because no user has "
            "enough training ratings; raise it, or set another lambda_source"
        )
    return _split(loader, held_out)


def split_validation(
    loader: FullSortEvalDataLoader | NegSampleEvalDataLoader, ratio: float
) -> tuple[FullSortEvalDataLoader | NegSampleEvalDataLoader, Dataset]:
    """Split a validation loader's ratings into a smaller loader and a holdout.

    The holdout is spread evenly over the users: with one validation rating per user (leave-one-out)
    and a ratio of 1/2, it takes the rating of every second user. The loader keeps its sampler, so
    that held-out items are masked when the remaining ones are ranked.

    Args:
        loader: RecBole's validation loader; it is not changed.
        ratio: share of the ratings to hold out, above 0 and below 1.

    Returns:
        A loader over the ratings that are left, and the dataset of the held-out ones.

    Raises:
        ValueError: if either part would be empty.
    """
    order = np.argsort(_users(loader._dataset).to_numpy(), kind="stable")
    passed = np.floor(np.arange(len(order) + 1) * ratio)
    held_out = np.zeros(len(order), dtype=bool)
    held_out[order] = passed[1:] > passed[:-1]
    if held_out.all() or not held_out.any():
        raise ValueError(
            f"lambda_split_ratio: {ratio} of {len(order)} validation ratings leaves one part empty;"
            " change it, or set lambda_source: holdout"
        )
    return _split(loader, held_out)


def in_common(one: Dataset, other: Dataset) -> int:
    """The number of ratings in ``other`` whose pair of user and item is in ``one`` too."""
    ours, theirs = (
        part.inter_feat[part.uid_field] * part.item_num + part.inter_feat[part.iid_field]
        for part in (one, other)
    )
    return int(np.isin(theirs.numpy(), ours.numpy()).sum())


def _users(dataset: Dataset) -> pd.Series:
    return pd.Series(dataset.inter_feat[dataset.uid_field].numpy())


def _split(loader: TrainDataLoader, held_out: np.ndarray) -> tuple[TrainDataLoader, Dataset]:
    dataset = loader._dataset
    kept, given_up = (
        dataset.copy(dataset.inter_feat[np.flatnonzero(part)]) for part in (~held_out, held_out)
    )
    return type(loader)(loader.config, kept, loader._sampler, shuffle=loader.shuffle), given_up
