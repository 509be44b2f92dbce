"""The gradient of the validation loss with respect to λ through several steps, by ``higher``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import higher
import torch
from higher.optim import DifferentiableOptimizer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from recbole_ext.arithmetic.adam_moments import AdamState
from recbole_ext.lambda_opt.gradient.bpr import Triples
from recbole_ext.processes.differentiable import differentiable_sums
from recbole_ext.processes.shares import same_draws, share_of, sum_shares

Loss = Callable[[dict[str, Tensor], Triples], Tensor]


class DifferentiableAdam(DifferentiableOptimizer):
    """``torch.optim.Adam`` as a differentiable function of its gradients.

    ``higher`` 0.2.1 adds eps before the bias correction, but torch adds it after. In the first
    steps this changes meta-gradients by more than an order of magnitude. This class therefore
    replaces the Adam of ``higher``.
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
        module: the module that the optimiser trains; it is not changed.
        optimizer: the model's own optimiser (Adam or SGD); it is not changed.
        train: one batch for each look-ahead step.
        valid: the batch of the validation loss.
        fit_loss: this process's share of the training loss with its penalty; it takes the module's
            parameters by name and a batch.
        valid_loss: this process's share of the validation loss, with the same arguments.
        strengths: the λ tables.

    Returns:
        The validation loss after the look-ahead, shape: []
    """
    higher.register_optim(Adam, DifferentiableAdam)  # replaces higher's own Adam
    names = [name for name, _ in module.named_parameters()]
    with (
        torch.enable_grad(),
        same_draws(),
        higher.innerloop_ctx(module, optimizer) as (ahead, stepper),
    ):
        for batch in train:
            of_share = fit_loss(dict(zip(names, ahead.fast_params, strict=True)), batch)
            shared = partial(differentiable_sums, share=share_of(len(batch.users)))
            stepper.step(of_share, grad_callback=shared)
        loss = valid_loss(dict(zip(names, ahead.fast_params, strict=True)), valid)
        gradients = torch.autograd.grad(loss, list(strengths), allow_unused=True)
    found = [(s, g) for s, g in zip(strengths, gradients, strict=True) if g is not None]
    share = share_of(len(valid.users))
    loss, *summed = sum_shares([loss.detach(), *(gradient for _, gradient in found)], share)
    for (strength, _), gradient in zip(found, summed, strict=True):
        strength.grad = gradient if strength.grad is None else strength.grad + gradient
    return loss
