"""Numbers that are none end a run, before anything is saved or reported of it."""

from __future__ import annotations

import math

import torch
from recbole.trainer import Trainer
from torch import Tensor


def check_loss(trainer: Trainer, loss: Tensor) -> None:
    """In place of RecBole's ``Trainer._check_nan``, which does not tell what to do.

    Raises:
        ValueError: if the loss is NaN.
    """
    if torch.isnan(loss).any():
        raise ValueError(
            f"the training loss is NaN: lower learning_rate ({trainer.learning_rate}), or look "
            "for extreme values in the data"
        )


def check_score(trainer: Trainer, score: float) -> None:
    """Refuse a validation score that no epoch can be chosen by.

    Raises:
        ValueError: naming the metric.
    """
    if not math.isfinite(score):
        raise ValueError(
            f"the validation's {trainer.valid_metric} is {score}: lower learning_rate "
            f"({trainer.learning_rate})"
        )
