"""The softmax loss and the gradient of its λ, against autograd, ``higher`` and differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recbole_ext.lambda_opt.gradient import softmax
from recbole_ext.lambda_opt.gradient.calibration import Temperature
from recbole_ext.lambda_opt.gradient.softmax_derivatives import SoftmaxGradients
from recbole_ext.lambda_opt.gradient.through_training import ForwardGradient
from recbole_ext.lambda_opt.gradient.unrolled import unrolled_hypergradient
from recbole_ext.lambda_opt.gradient.user_batch import Factors, UserBatch
from recbole_ext.lambda_opt.lambda_network import PowerLaw
from tests.lambda_opt.softmax_reference import (
    N_ITEMS,
    N_USERS,
    SIZE,
    TRAIN,
    VALID,
    batch,
    factors,
    hit,
    likelihood,
)

STEPS = 12


def in_tables(some: UserBatch, found: Factors) -> Factors:
    users = torch.zeros(N_USERS, SIZE, dtype=torch.double)
    return found._replace(users=users.index_add(0, some.users, found.users))


def by_autograd(loss: Callable[..., Tensor], *given: Any) -> tuple[Tensor, Factors]:
    leaves = Factors(*(part.clone().requires_grad_() for part in factors()))
    value = loss(leaves, *given)
    return value.detach(), Factors(*torch.autograd.grad(value, leaves))


@pytest.mark.parametrize("some", [TRAIN, VALID], ids=["train", "valid"])
def test_the_gradients_are_autograds(some: UserBatch) -> None:
    read = softmax.softmax_gradients(factors(), some)
    value, expected = by_autograd(likelihood, some)
    torch.testing.assert_close(read.loss, value)
    torch.testing.assert_close(in_tables(some, read.gradients), expected)


def test_the_tangents_are_the_derivatives_of_the_gradients() -> None:
    direction = factors(1)

    def gradient(*parts: Tensor) -> Factors:
        found = softmax.softmax_gradients.__wrapped__(Factors(*parts), TRAIN).gradients
        return in_tables(TRAIN, found)

    step = 1e-6
    ends = [
        gradient(*(p + s * d for p, d in zip(factors(), direction, strict=True)))
        for s in (step, -step)
    ]
    expected = Factors(*((a - b) / (2 * step) for a, b in zip(*ends, strict=True)))
    read = softmax.softmax_gradients(factors(), TRAIN)
    found = in_tables(TRAIN, softmax.softmax_tangents(factors(), read, direction))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("kind", ["likelihood", "hit"])
def test_a_calibrated_loss_does_not_see_the_scale_of_the_scores(kind: str) -> None:
    loss = likelihood if kind == "likelihood" else hit

    def found(scale: float) -> tuple[Tensor, Factors, float]:
        parts = factors()
        scaled = Factors(parts.users * scale, parts.items, parts.bias * scale)
        temperature = Temperature()

        def follow(derivatives: Any) -> Tensor:
            return temperature.follow(derivatives, steps=60)

        given = {"hit": softmax.hit_gradients, "likelihood": softmax.calibrated_gradients}
        value, gradients = given[kind](scaled, VALID, follow)
        return value, in_tables(VALID, gradients), temperature.value.item()

    value, gradients, best = found(1.0)
    again, _, halved = found(2.0)
    assert again.item() == pytest.approx(value.item(), rel=1e-9)
    assert halved == pytest.approx(best / 2, rel=1e-6)
    around = [loss(factors(), VALID, best * s).item() for s in (0.99, 1.01)]
    assert value.item() < min(around)
    expected, slopes = by_autograd(loss, VALID, best)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradients, slopes)
    along = sum((g * p).sum() for g, p in zip(gradients[1:], factors()[1:], strict=True))
    assert abs(along) < 1e-6  # a change of the scale alone changes nothing


def of_tables(tables: Any) -> Factors:
    return Factors(*(tables[f"of {name}"] for name in Factors._fields))


class Law:
    """A small training under the softmax, with a power law of λ."""

    def __init__(self, optimizer: str, weight_decay: float) -> None:
        self.tables = nn.ParameterDict({f"of {k}": v for k, v in factors()._asdict().items()})
        self.law = PowerLaw(N_USERS, N_ITEMS, (0.6, 1.7), (0.4, -0.3)).double()
        generator = torch.Generator().manual_seed(5)
        for side, n in (("user", N_USERS), ("item", N_ITEMS)):
            self.law.tell_counts(side, torch.randint(0, 9, (n,), generator=generator))
        kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
        self.optimizer = kind(self.tables.parameters(), lr=0.05, weight_decay=weight_decay)
        some = [[2, 3], [1, 8, 4], [5], [6, 7], [2, 8]]
        self.train = []
        for _ in range(STEPS):
            users = (1 + torch.randperm(N_USERS - 2, generator=generator)[:3]).tolist()
            self.train.append(batch(users, [some[user - 1] for user in users]))

    def fit_loss(self, tables: dict[str, Tensor], some: UserBatch) -> Tensor:
        parts = of_tables(tables)
        users = parts.users[some.users]
        of_users = (self.law.user(some.users) * users.square()).sum() / len(some.users)
        of_items = (self.law.item(slice(None)) * parts.items.square()).sum() / (N_USERS - 1)
        return likelihood(parts, some) + of_users + of_items

    def outer(self, tables: dict[str, Tensor], some: UserBatch) -> Tensor:
        return likelihood(of_tables(tables), some)

    def gradients(self) -> dict[str, float]:
        return {name: weight.grad.item() for name, weight in self.law.weights.items()}

    def forward(self) -> dict[str, float]:
        parts = of_tables(self.tables)
        derivatives = SoftmaxGradients(parts, N_USERS - 1)
        sides = {"user": "users", "item": "items"}
        carried = ForwardGradient(derivatives, self.optimizer, sides, self.law)
        for some in self.train:
            carried.begin(some, softmax.softmax_gradients(derivatives._factors(), some))
            carried.end()
            self.optimizer.zero_grad()
            self.fit_loss(dict(self.tables.items()), some).backward()
            self.optimizer.step()
        self.law.zero_grad()
        carried.add(VALID)
        return self.gradients()

    def backward(self) -> dict[str, float]:
        given = self.tables, self.optimizer, self.train, VALID, self.fit_loss, self.outer
        unrolled_hypergradient(*given, list(self.law.parameters()))
        return self.gradients()


@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_gradient_of_the_four_numbers_is_the_unrolled_one(
    optimizer: str, weight_decay: float
) -> None:
    forward = Law(optimizer, weight_decay).forward()
    assert len(forward) == 4
    assert all(abs(value) > 1e-6 for value in forward.values())
    assert forward == pytest.approx(Law(optimizer, weight_decay).backward(), rel=1e-8)
