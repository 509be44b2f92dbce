"""The two stages of a training with a last fit: λ is learnt, then the model is trained anew."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer

from recbole_ext.lambda_opt.settings import BilevelSettings


class Stages:
    """Which stage a training is in, and what changes between them.

    In the first stage no epoch is validated, as none of its models is kept. Its λ steps become
    smaller and smaller, so that λ ends at a mean instead of at the noise of the last batches.

    Args:
        settings: the run's settings.
        first: loader of the ratings of the first stage.
        whole: loader of all training ratings.

    Attributes:
        lambda_epochs: number of epochs of the first stage.
        last_fit: whether λ is learnt already.
    """

    def __init__(self, settings: BilevelSettings, first: Any, whole: Any) -> None:
        self.settings, self.first, self.whole = settings, first, whole
        whole.generator = first.generator  # the one whose state is in the checkpoints
        least = math.ceil(settings.lambda_steps / len(first))
        self.lambda_epochs = max(settings.lambda_epochs, least)
        self.last_fit = False
        self._eval_step: int | None = None

    def enter(self, trainer: Any, epoch: int) -> Any:
        """Prepare a trainer for an epoch; returns the epoch's loader."""
        if self._eval_step is None:
            self._eval_step = trainer.eval_step
        self.last_fit = epoch >= self.lambda_epochs
        if not self.last_fit:
            if self._eval_step > 0:
                trainer.eval_step = trainer.epochs + 1
            return self.first
        trainer.eval_step = self._eval_step
        if epoch == self.lambda_epochs:
            self._begin_last_fit(trainer)
        return self.whole

    def slow_down(self, optimizer: Optimizer, batch: int) -> None:
        """Set the learning rate of λ, which falls to 0 along the first stage."""
        left = 1 - batch / (self.lambda_epochs * len(self.first))
        for group in optimizer.param_groups:
            group["lr"] = self.settings.lambda_learning_rate * left

    def _begin_last_fit(self, trainer: Any) -> None:
        temperature = trainer.forward_gradient.temperature
        if temperature is not None and temperature.at_bound:
            trainer.logger.warning(
                f"the scores tell nothing of what λ learns from (their best scale is "
                f"{temperature.value.item():.3g}), so that λ is a matter of chance; set "
                "regularizer: frequency and a reg_weight, or raise lambda_holdout_ratio"
            )
        trainer.forward_gradient = None
        trainer.model.reset_parameters()
        trainer.optimizer.state.clear()
        for group in trainer.optimizer.param_groups:
            group["lr"] = self.settings.refit_learning_rate or group["lr"]
        trainer.cur_step = 0
        trainer.best_valid_score = -math.inf if trainer.valid_metric_bigger else math.inf
        found = ", ".join(f"{k}: {v}" for k, v in trainer.lambda_network.summary().items())
        trainer.logger.info(f"λ is learnt ({found}). The model is now trained anew with it.")
