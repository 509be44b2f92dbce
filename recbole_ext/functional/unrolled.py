"""How the validation loss answers to λ through any number of look-ahead steps, with ``higher``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import higher
import torch
from higher.optim import DifferentiableOptimizer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from recbole_ext.functional.bpr import Triples
from recbole_ext.functional.lookahead import AdamState

Loss = Callable[[dict[str, Tensor], Triples], Tensor]


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
    module: nn.Module,
    optimizer: Optimizer,
    train: Sequence[Triples],
    valid: Triples,
    fit_loss: Loss,
    valid_loss: Loss,
    strengths: Sequence[Tensor],
) -> Tensor:
    """Add the gradient of the validation loss with respect to λ to ``strengths``' ``grad``.

    Args:
        module: what the optimiser trains; it stays as it is.
        optimizer: the model's own optimiser (Adam or SGD); it stays as it is.
        train: one batch for each look-ahead step.
        valid: the batch of the validation loss.
        fit_loss: the training loss with its penalty, from the module's parameters by name and a
            batch.
        valid_loss: the validation loss, from the same.
        strengths: the λ tables.

    Returns:
        The validation loss after the look-ahead, shape: []
    """
    names = [name for name, _ in module.named_parameters()]
    with torch.enable_grad(), higher.innerloop_ctx(module, optimizer) as (ahead, stepper):
        for batch in train:
            stepper.step(fit_loss(dict(zip(names, ahead.fast_params, strict=True)), batch))
        loss = valid_loss(dict(zip(names, ahead.fast_params, strict=True)), valid)
        gradients = torch.autograd.grad(loss, list(strengths), allow_unused=True)
    for strength, gradient in zip(strengths, gradients, strict=True):
        if gradient is not None:
            strength.grad = gradient if strength.grad is None else strength.grad + gradient
    return loss.detach()
