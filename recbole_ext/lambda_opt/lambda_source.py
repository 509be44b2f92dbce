"""Which ratings train λ, which train the model, and which select the epoch."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader, TrainDataLoader
from recbole.data.dataset import Dataset
from recbole.sampler import Sampler

from recbole_ext.lambda_opt.holdout import split_training, split_validation
from recbole_ext.lambda_opt.settings import BilevelSettings

EvalLoader: TypeAlias = FullSortEvalDataLoader | NegSampleEvalDataLoader


class LambdaSource(NamedTuple):
    """The three parts of the ratings.

    Attributes:
        train_data: loader of the ratings that the model trains on.
        valid_data: loader of the ratings that select the epoch.
        dataset: the ratings that λ learns from.
        sampler: draws the negatives for ``dataset``.
    """

    train_data: TrainDataLoader
    valid_data: EvalLoader | None
    dataset: Dataset
    sampler: Sampler


def lambda_source(
    settings: BilevelSettings, train_data: TrainDataLoader, valid_data: EvalLoader | None
) -> LambdaSource:
    """Set aside the ratings that the setting ``lambda_source`` gives to λ.

    Args:
        settings: the run's settings.
        train_data: RecBole's training loader; it is not changed.
        valid_data: RecBole's validation loader; it is not changed.

    Raises:
        ValueError: if λ needs a ranked validation set and there is none, or if a part would be
            empty.
    """
    if settings.lambda_source == "holdout":
        train_data, dataset = split_training(train_data, settings.lambda_holdout_ratio)
        return LambdaSource(train_data, valid_data, dataset, train_data._sampler)
    if not valid_data or valid_data._sampler is None:
        raise ValueError(
            f"lambda_source: {settings.lambda_source} needs a validation set that is ranked "
            "(eval_args.mode: full, uniN or popN); use lambda_source: holdout"
        )
    dataset, sampler = valid_data._dataset, valid_data._sampler
    if settings.lambda_source == "split":
        valid_data, dataset = split_validation(valid_data, settings.lambda_split_ratio)
    return LambdaSource(train_data, valid_data, dataset, sampler)
