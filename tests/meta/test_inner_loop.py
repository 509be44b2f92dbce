"""The batched inner loop against a loop over users, `higher`, and finite differences."""

from __future__ import annotations

import itertools

import higher
import pytest
import torch
from torch import Tensor, nn

from recbole_ext.lambda_opt.gradient.unrolled import DifferentiableAdam
from recbole_ext.meta.adapting.factored_weight import FactoredWeight, dense, linear
from recbole_ext.meta.adapting.inner_loop import (
    Weights,
    adapt,
    descend,
    mean_error,
    mini_batches,
    mlp,
)
from recbole_ext.meta.adapting.inner_optimizers import Adam
from recbole_ext.meta.adapting.ridge import ridge_weights

SIZES = [5, 7, 4, 1]
SUPPORTS, QUERIES = [3, 8, 1, 5], [2, 4, 4, 1]


def double(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.double)


@pytest.fixture(autouse=True)
def corrected_adam() -> None:
    """``higher`` adds eps to Adam's root before the bias correction; torch adds it after."""
    higher.register_optim(torch.optim.Adam, DifferentiableAdam)


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


def adapted(
    parameters: list[Tensor],
    rates: list[Tensor | float],
    padded: list[Tensor],
    steps: int = 1,
    first_order: bool = False,
    size: int | None = None,
    optimizer: str = "sgd",
) -> Weights:
    x, y, mask = padded[:3]

    def loss(weights: Weights, part: slice) -> Tensor:
        return mean_error(mlp(x[:, part], weights).squeeze(-1), y[:, part], mask[:, part])

    parts = mini_batches(x.shape[1], size) * steps
    start = [parameter.expand(len(x), *parameter.shape) for parameter in parameters]
    if optimizer == "sgd":
        return descend(start, loss, mask, parts, rates, first_order)
    return adapt(start, loss, mask, parts, Adam(rates), first_order)


def query_loss(padded: list[Tensor], weights: Weights) -> Tensor:
    return mean_error(mlp(padded[3], weights).squeeze(-1), padded[4], padded[5]).mean()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("size", [None, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_losses_and_meta_gradients_equal_a_loop_over_users_with_higher(
    network: nn.Sequential, steps: int, first_order: bool, size: int | None, optimizer: str
) -> None:
    tasks, padded = ragged_tasks()
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    weights = adapted(
        parameters_of(network), [0.1] * 6, padded, steps, first_order, size, optimizer
    )
    loss = query_loss(padded, weights)
    found = torch.autograd.grad(loss, list(network.parameters()))

    losses, total = [], [torch.zeros_like(p) for p in network.parameters()]
    for x, y, query, answer in tasks:
        outer = kinds[optimizer](network.parameters(), lr=0.1)
        with higher.innerloop_ctx(network, outer, track_higher_grads=not first_order) as (
            fast,
            steps_of,
        ):
            for _ in range(steps):
                for part in mini_batches(len(x), size):
                    steps_of.step(((fast(x[part]).squeeze(-1) - y[part]) ** 2).mean())
            one = ((fast(query).squeeze(-1) - answer) ** 2).mean()
            start = 0 if not first_order else -1  # first order: the gradient at the end's weights
            gradients = torch.autograd.grad(one, list(fast.parameters(time=start)))
        losses.append(one.item())
        total = [a + b / len(tasks) for a, b in zip(total, gradients, strict=True)]
    assert loss.item() == pytest.approx(sum(losses) / len(losses), abs=1e-10)
    torch.testing.assert_close(list(found), total, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("rows", [1, 4, 50])
def test_steps_kept_as_rows_give_the_same_layer_as_the_weight(rows: int, first_order: bool) -> None:
    torch.manual_seed(0)
    start = double(6, 9).requires_grad_()
    factored = FactoredWeight(start.expand(2, 6, 9), 8, 2, first_order)
    dense_weight = start.expand(2, 6, 9)
    for _ in range(2):
        inputs, gradient = double(2, 4, 6), double(2, 4, 9)
        factored.apply(inputs)
        factored.step(gradient, 0.1)
        dense_weight = dense_weight - 0.1 * inputs.mT @ gradient
    asked = double(2, rows, 6)
    outputs = [linear(asked, weight) for weight in (factored.end(), dense_weight)]
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-12)
    derivatives = [torch.autograd.grad(out.square().sum(), start)[0] for out in outputs]
    torch.testing.assert_close(*derivatives, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(dense(factored.detach()), dense_weight.detach())
    assert not linear(asked, factored.detach()).requires_grad


def test_inputs_that_come_again_are_kept_once() -> None:
    torch.manual_seed(0)
    start, inputs = double(2, 6, 9), [double(2, 3, 6), double(2, 2, 6)]
    factored, weight = FactoredWeight(start, 10, 4, first_order=True), start
    for at in (0, 1, 0, 1):
        gradient = double(2, inputs[at].shape[1], 9)
        torch.testing.assert_close(factored.apply(inputs[at]), inputs[at] @ weight)
        factored.step(gradient, 0.1)
        weight = weight - 0.1 * inputs[at].mT @ gradient
    assert factored._rank == 5
    torch.testing.assert_close(factored.end().dense(), weight, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [None, 3])
def test_step_sizes_are_learnt_in_first_order_too(network: nn.Sequential, size: int | None) -> None:
    """Against steps written out, whose gradients are constants and whose sizes are not."""
    _, padded = ragged_tasks()
    x, y, mask = padded[:3]
    rates = [
        torch.tensor(0.05 * (at + 1), dtype=torch.double, requires_grad=True) for at in range(6)
    ]
    found = query_loss(padded, adapted(parameters_of(network), rates, padded, 2, True, size))
    weights = [p.expand(len(x), *p.shape) for p in parameters_of(network)]
    for part in mini_batches(x.shape[1], size) * 2:
        constant = [w.detach().requires_grad_() for w in weights]
        predicted = mlp(x[:, part], constant).squeeze(-1)
        total = mean_error(predicted, y[:, part], mask[:, part]).sum()
        gradients = torch.autograd.grad(total, constant)
        weights = [w - r * g for w, r, g in zip(weights, rates, gradients, strict=True)]
    expected = query_loss(padded, weights)
    leaves = [*rates, *network.parameters()]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves)
    )


def test_weights_are_kept_as_rows_where_that_is_less_work_and_applied_once_in_a_step() -> None:
    weight = double(2, 6, 9)
    assert FactoredWeight.pays(weight, 23)
    assert not FactoredWeight.pays(weight, 24)
    assert not FactoredWeight.pays(double(2, 1, 9), 1)  # a bias
    factored = FactoredWeight(weight, 4, 1, first_order=True)
    factored.apply(double(2, 4, 6))
    with pytest.raises(RuntimeError, match="once in a step"):
        factored.apply(double(2, 4, 6))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_gradients_of_weights_and_rates_are_those_of_finite_differences(
    network: nn.Sequential, optimizer: str
) -> None:
    _, padded = ragged_tasks()
    start = [p.detach().clone().requires_grad_() for p in parameters_of(network)]
    rates = [torch.tensor(0.05, dtype=torch.double, requires_grad=True) for _ in start]

    def loss(*values: Tensor) -> Tensor:
        weights, steps = list(values[:6]), list(values[6:])
        return query_loss(padded, adapted(weights, steps, padded, 2, size=4, optimizer=optimizer))

    assert torch.autograd.gradcheck(loss, (*start, *rates))


def test_first_order_keeps_no_graph_of_the_inner_steps(network: nn.Sequential) -> None:
    _, padded = ragged_tasks()
    inputs = padded[0].requires_grad_()
    for first_order in (False, True):
        weights = adapted(parameters_of(network), [0.1] * 6, padded, 2, first_order)
        total = sum(dense(weight).sum() for weight in weights)
        (found,) = torch.autograd.grad(total, inputs, allow_unused=True)  # type: ignore[arg-type]
        assert (found is None) == first_order


@pytest.mark.parametrize(("size", "optimizer"), [(None, "sgd"), (2, "sgd"), (2, "adam")])
def test_a_task_without_support_keeps_the_weights(
    network: nn.Sequential, size: int | None, optimizer: str
) -> None:
    _, padded = ragged_tasks()
    padded[2][1] = 0
    start = parameters_of(network)
    weights = adapted(start, [0.1] * 6, padded, 3, True, size, optimizer)
    for before, after in zip(start, map(dense, weights), strict=True):
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
