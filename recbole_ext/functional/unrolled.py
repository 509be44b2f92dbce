"""How the validation loss answers to λ through any number of look-ahead steps, with ``higher``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import higher
import torch
from higher.optim import DifferentiableOptimizer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from recbole_ext.functional.bpr import Triples, bpr_loss
from recbole_ext.functional.lookahead import AdamState

Penalty = Callable[[Tensor, Tensor, Triples], Tensor]


class DifferentiableAdam(DifferentiableOptimizer):
    """``torch.optim.Adam`` as a differentiable function of its gradients.

    ``higher`` 0.2.1 adds eps before the bias correction; torch adds it after. At the first steps
    this changes meta-gradients by more than an order of magnitude. Registered below in its place.
    """

    def _update(self, grouped_grads: list[list[Tensor]], **_: object) -> None:
        for index, (group, gradients) in enumerate(
            zip(self.param_groups, grouped_grads, strict=True)
        ):
            for position, gradient in enumerate(gradients):
                if gradient is not None:
                    state = self.state[index][position]
                    group["params"][position] = _adam(group, state, position, gradient)


def _adam(group: dict, state: dict, position: int, gradient: Tensor) -> Tensor:
    rows = group["params"][position]
    before = AdamState(
        state.get("exp_avg", torch.zeros_like(rows)),
        state.get("exp_avg_sq", torch.zeros_like(rows)),
        int(state.get("step", 0)),
    )
    after = before.advance(gradient + group["weight_decay"] * rows, group["betas"])
    state.update(exp_avg=after.first, exp_avg_sq=after.second, step=after.step)
    first, root = after.corrected(group["betas"])
    return rows - group["lr"] * first / (root + group["eps"])


higher.register_optim(Adam, DifferentiableAdam)


def unrolled_hypergradient(
    tables: nn.ModuleDict,
    optimizer: Optimizer,
    train: Sequence[Triples],
    valid: Triples,
    penalty: Penalty,
    parameters: Sequence[Tensor],
) -> Tensor:
    """Add the gradient of the validation loss with respect to λ to ``parameters``' ``grad``.

    Args:
        tables: two embeddings, ``"user"`` first and then ``"item"``; they stay as they are.
        optimizer: the model's own optimiser (Adam or SGD); it stays as it is.
        train: one batch for each look-ahead step.
        valid: the batch of the validation loss.
        penalty: the look-ahead's penalty, from all user rows, all item rows and the training batch.
        parameters: the λ tables.

    Returns:
        The validation loss after the look-ahead, shape: []
    """
    with torch.enable_grad(), higher.innerloop_ctx(tables, optimizer) as (ahead, stepper):
        for batch in train:
            users, items = ahead.fast_params
            stepper.step(_bpr(users, items, batch) + penalty(users, items, batch))
        users, items = ahead.fast_params
        loss = _bpr(users, items, valid)
        gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    return loss.detach()


def _bpr(users: Tensor, items: Tensor, batch: Triples) -> Tensor:
    return bpr_loss(users[batch.users], items[batch.positives], items[batch.negatives])
