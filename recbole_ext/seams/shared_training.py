"""RecBole's training loop, with each batch divided among the processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from recbole_ext.arithmetic.fused_adam import fused
from recbole_ext.processes.group import group
from recbole_ext.processes.shares import shared_loss


def dividing_batches(train_epoch: Callable) -> Callable:
    """Wrap ``Trainer._train_epoch``: each process computes the loss of its share of a batch.

    A trainer with ``divides_batches`` does so itself. A trainer with a loop of its own works on
    whole batches in each process, with the same result.
    """

    def train_on_shares(
        trainer: Any,
        train_data: Any,
        epoch_idx: int,
        loss_func: Callable | None = None,
        show_progress: bool = False,
    ) -> Any:
        if group().size > 1 and not getattr(trainer, "divides_batches", False):
            of_batch = loss_func or trainer.model.calculate_loss
            leaves = [leaf for leaf in trainer.model.parameters() if leaf.requires_grad]

            def loss_func(batch: Any) -> Any:
                return shared_loss(leaves, of_batch, batch)

        return train_epoch(trainer, train_data, epoch_idx, loss_func, show_progress)

    return train_on_shares


def stepping_in_one_pass(build: Callable) -> Callable:
    """Wrap ``Trainer._build_optimizer``: several processes have a faster Adam with the same steps.

    All of them take the whole step, which is therefore made short.
    """

    def build_fused(trainer: Any, **given: Any) -> Optimizer:
        optimizer = build(trainer, **given)
        return optimizer if group().size == 1 else fused(optimizer)

    return build_fused
