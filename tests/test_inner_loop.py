"""The batched inner loop against a loop over users, `higher`, and finite differences."""

from __future__ import annotations

import itertools

import higher
import pytest
import torch
from torch import Tensor, nn

from recbole_ext.functional.inner_loop import adapt, mean_error, mlp
from recbole_ext.functional.ridge import ridge_weights

SIZES = [5, 7, 4, 1]
SUPPORTS, QUERIES = [3, 8, 1, 5], [2, 4, 4, 1]


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.double)


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(SIZES):
        layers += [nn.Linear(before, after, dtype=torch.double), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def parameters_of(network: nn.Sequential) -> list[Tensor]:
    """The same numbers in the layout of the batched network, with their history."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [x for layer in linear for x in (layer.weight.T, layer.bias.unsqueeze(0))]


def ragged_tasks() -> tuple[list[tuple[Tensor, Tensor, Tensor, Tensor]], list[Tensor]]:
    """Tasks one by one, and the same padded: x, y, mask of the support and of the query."""
    torch.manual_seed(1)
    tasks = [
        (double(s, 5), double(s), double(q, 5), double(q))
        for s, q in zip(SUPPORTS, QUERIES, strict=True)
    ]
    padded = []
    for at, sizes in ((0, SUPPORTS), (2, QUERIES)):
        x, y = double(len(tasks), max(sizes), 5), double(len(tasks), max(sizes))
        mask = torch.zeros_like(y)
        for row, task in enumerate(tasks):
            x[row, : sizes[row]], y[row, : sizes[row]] = task[at], task[at + 1]
            mask[row, : sizes[row]] = 1
        padded += [x, y, mask]
    return tasks, padded


def batched_loss(
    parameters: list[Tensor], rates: list[Tensor], padded: list[Tensor], steps: int, first: bool
) -> Tensor:
    weights = adapt(parameters, rates, *padded[:3], steps, first)
    return mean_error(mlp(padded[3], weights), padded[4], padded[5]).mean()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("first_order", [False, True])
def test_losses_and_meta_gradients_equal_a_loop_over_users_with_higher(
    network: nn.Sequential, steps: int, first_order: bool
) -> None:
    tasks, padded = ragged_tasks()
    rates = [torch.tensor(0.1, dtype=torch.double)] * 6
    loss = batched_loss(parameters_of(network), rates, padded, steps, first_order)
    found = torch.autograd.grad(loss, list(network.parameters()))

    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses, total = [], [torch.zeros_like(p) for p in network.parameters()]
    for x, y, query, answer in tasks:
        with higher.innerloop_ctx(network, optimizer, track_higher_grads=not first_order) as (
            fast,
            steps_of,
        ):
            for _ in range(steps):
                steps_of.step(((fast(x).squeeze(-1) - y) ** 2).mean())
            one = ((fast(query).squeeze(-1) - answer) ** 2).mean()
            start = 0 if not first_order else -1  # first order: the gradient at the end's weights
            gradients = torch.autograd.grad(one, list(fast.parameters(time=start)))
        losses.append(one.item())
        total = [a + b / len(tasks) for a, b in zip(total, gradients, strict=True)]
    assert loss.item() == pytest.approx(sum(losses) / len(losses), abs=1e-12)
    torch.testing.assert_close(list(found), total, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2])
def test_gradients_of_weights_and_rates_are_those_of_finite_differences(
    network: nn.Sequential, steps: int
) -> None:
    _, padded = ragged_tasks()
    start = [p.detach().clone().requires_grad_() for p in parameters_of(network)]
    rates = [torch.tensor(0.05, dtype=torch.double, requires_grad=True) for _ in start]

    def loss(*values: Tensor) -> Tensor:
        return batched_loss(list(values[:6]), list(values[6:]), padded, steps, False)

    assert torch.autograd.gradcheck(loss, (*start, *rates))


def test_first_order_keeps_no_graph_of_the_inner_steps(network: nn.Sequential) -> None:
    _, padded = ragged_tasks()
    inputs = padded[0].requires_grad_()
    rates = [torch.tensor(0.1, dtype=torch.double)] * 6
    for first_order in (False, True):
        weights = adapt(parameters_of(network), rates, inputs, padded[1], padded[2], 2, first_order)
        total = sum(weight.sum() for weight in weights)
        (found,) = torch.autograd.grad(total, inputs, allow_unused=True)  # type: ignore[arg-type]
        assert (found is None) == first_order


def test_a_task_without_support_keeps_the_weights(network: nn.Sequential) -> None:
    _, padded = ragged_tasks()
    padded[2][1] = 0
    start = parameters_of(network)
    weights = adapt(start, [0.1] * 6, *padded[:3], 3, True)
    for before, after in zip(start, weights, strict=True):
        assert torch.equal(after[1], before)
        assert not torch.equal(after[0], before)


def test_ridge_weights_are_those_of_each_task_alone() -> None:
    tasks, (x, y, mask, *_) = ragged_tasks()
    found = ridge_weights(x, y, mask, 0.7)
    for row, (features, targets, *_) in enumerate(tasks):
        stacked = torch.cat([features, 0.7**0.5 * torch.eye(5, dtype=torch.double)])
        wanted = torch.linalg.lstsq(stacked, torch.cat([targets, double(5) * 0])).solution
        torch.testing.assert_close(found[row], wanted, rtol=1e-10, atol=1e-12)
    strength = torch.tensor(0.7, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda f, t, s: ridge_weights(f, t, mask, s),
        (x.requires_grad_(), y.requires_grad_(), strength),
    )
