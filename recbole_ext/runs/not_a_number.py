"""Checks that stop a run when the loss is NaN or a validation score is NaN or infinite."""

from __future__ import annotations

import math

import torch
from recbole.trainer import Trainer
from torch import Tensor


def check_loss(trainer: Trainer, loss: Tensor) -> None:
    """Check that the training loss is not NaN; replaces RecBole's ``Trainer._check_nan``.

    RecBole's own error does not say what to do.

    Raises:
        ValueError: if the loss is NaN.
    """
    if torch.isnan(loss).any():
        raise ValueError(
            f"the training loss is NaN: lower learning_rate ({trainer.learning_rate}), or look "
            "for extreme values in the data"
        )


def check_score(trainer: Trainer, score: float) -> None:
    """Check that a validation score is finite, so that it can select an epoch.

    Raises:
        ValueError: if it is NaN or infinite; the error names the metric.
    """
    if not math.isfinite(score):
        raise ValueError(
            f"the validation's {trainer.valid_metric} is {score}: lower learning_rate "
            f"({trainer.learning_rate})"
        )
