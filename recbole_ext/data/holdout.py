"""Setting a share of the training ratings aside, for what must not learn from the same ratings."""

from __future__ import annotations

from recbole.data.dataloader import TrainDataLoader
from recbole.data.dataset import Dataset


def split_holdout(loader: TrainDataLoader, ratio: float) -> tuple[TrainDataLoader, Dataset]:
    """Split a training loader's ratings, user by user, into a smaller loader and a holdout.

    The last ratings of each user, in the order of RecBole's split (random or by time), are held
    out. The loader keeps its sampler: held-out items are no negatives, and are masked in
    evaluation.

    Args:
        loader: RecBole's training loader; it stays as it is.
        ratio: share of each user's ratings to hold out, above 0 and below 1.

    Returns:
        A loader over the ratings that are left, and the dataset of the held-out ones.

    Raises:
        ValueError: if no user has enough ratings to give one up.
    """
    whole = loader._dataset
    kept, held_out = whole.split_by_ratio([1 - ratio, ratio], group_by=whole.uid_field)
    if len(held_out) == 0:
        raise ValueError(
            f"lambda_holdout_ratio: {ratio} leaves nothing to learn λ from, because no user has "
            "enough training ratings; raise it, or set lambda_source: valid"
        )
    return TrainDataLoader(loader.config, kept, loader._sampler, shuffle=loader.shuffle), held_out
