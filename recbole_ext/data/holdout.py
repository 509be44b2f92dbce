"""Setting a share of the training ratings aside, for what must not learn from the same ratings."""

from __future__ import annotations

import numpy as np
import pandas as pd
from recbole.data.dataloader import TrainDataLoader
from recbole.data.dataset import Dataset


def split_holdout(loader: TrainDataLoader, ratio: float) -> tuple[TrainDataLoader, Dataset]:
    """Split a training loader's ratings into a smaller loader and a holdout.

    Of each user's ``n`` ratings the last ``round(ratio · n)``, in the order of RecBole's split
    (random or by time), are held out, but never all. The loader keeps its sampler: held-out items
    are no negatives, and are masked in evaluation.

    Args:
        loader: RecBole's training loader; it stays as it is.
        ratio: share of each user's ratings to hold out, above 0 and below 1.

    Returns:
        A loader over the ratings that are left, and the dataset of the held-out ones.

    Raises:
        ValueError: if no user has enough ratings to give one up.
    """
    dataset = loader._dataset
    users = pd.Series(dataset.inter_feat[dataset.uid_field].numpy())
    by_user = users.groupby(users)
    from_the_end = by_user.cumcount(ascending=False).to_numpy()
    ratings = by_user.transform("size").to_numpy()
    held_out = from_the_end < np.minimum(np.round(ratio * ratings), ratings - 1)
    if not held_out.any():
        raise ValueError(
            f"lambda_holdout_ratio: {ratio} leaves nothing to learn λ from, because no user has "
            "enough training ratings; raise it, or set lambda_source: valid"
        )
    kept = dataset.copy(dataset.inter_feat[np.flatnonzero(~held_out)])
    smaller = TrainDataLoader(loader.config, kept, loader._sampler, shuffle=loader.shuffle)
    return smaller, dataset.copy(dataset.inter_feat[np.flatnonzero(held_out)])
