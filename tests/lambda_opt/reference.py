"""An independent, obvious λOpt step: plain loops over 50-digit numbers, differences for gradients.

Nothing here shares code with the package. Numbers are ``mpmath.mpf``, so that a finite difference
with a step of 1e-20 is exact to about 20 digits, also where Adam's ``v`` is 0 and its response to a
gradient turns within 1e-8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath
from mpmath import mpf

mpmath.mp.dps = 50
_STEP = mpf(10) ** -20

Table = list[list[mpf]]
Batch = Sequence[tuple[int, int, int]]  # user, positive, negative
Strength = Callable[[int, int], mpf]  # λ of a row and dimension


@dataclass
class Adam:
    """State of one table: first moment, second moment, number of steps taken."""

    first: Table
    second: Table
    step: int


@dataclass
class Optimizer:
    """SGD if ``states`` is None; else Adam or, with ``sparse``, torch's SparseAdam."""

    learning_rate: mpf
    weight_decay: mpf
    betas: tuple[mpf, mpf]
    eps: mpf
    sparse: bool = False
    states: dict[str, Adam] | None = None


def to_table(values: Sequence[Sequence[float]]) -> Table:
    return [[mpf(value) for value in row] for row in values]


def bpr(users: Table, items: Table, batch: Batch) -> mpf:
    total = mpf(0)
    for u, i, j in batch:
        score = sum(a * (b - c) for a, b, c in zip(users[u], items[i], items[j], strict=True))
        total += mpmath.log(1 + mpmath.exp(-score))
    return total / len(batch)


def bpr_gradient(users: Table, items: Table, batch: Batch) -> tuple[Table, Table]:
    """By hand: each triple pulls its user to i − j, i to the user, j away from it."""
    d = len(users[0])
    of_users = [[mpf(0)] * d for _ in users]
    of_items = [[mpf(0)] * d for _ in items]
    for u, i, j in batch:
        score = sum(users[u][k] * (items[i][k] - items[j][k]) for k in range(d))
        pull = -1 / (1 + mpmath.exp(score)) / len(batch)
        for k in range(d):
            of_users[u][k] += pull * (items[i][k] - items[j][k])
            of_items[i][k] += pull * users[u][k]
            of_items[j][k] -= pull * users[u][k]
    return of_users, of_items


def step(
    name: str, table: Table, gradient: Table, optimizer: Optimizer, touched: set[int]
) -> tuple[Table, Adam | None]:
    """One step of the optimiser on one table, and its state after it."""
    if optimizer.states is None:
        new = [
            [
                x - optimizer.learning_rate * (g + optimizer.weight_decay * x)
                for x, g in zip(*rows, strict=True)
            ]
            for rows in zip(table, gradient, strict=True)
        ]
        return new, None
    state, (beta1, beta2) = optimizer.states[name], optimizer.betas
    t = state.step + 1
    new, first, second = [], [], []
    for r, row in enumerate(table):
        new.append([]), first.append([]), second.append([])
        for k, x in enumerate(row):
            if optimizer.sparse and r not in touched:
                new[r].append(x), first[r].append(state.first[r][k])
                second[r].append(state.second[r][k])
                continue
            g = gradient[r][k] + optimizer.weight_decay * x
            m = beta1 * state.first[r][k] + (1 - beta1) * g
            v = beta2 * state.second[r][k] + (1 - beta2) * g * g
            first[r].append(m), second[r].append(v)
            m_hat = m / (1 - beta1**t)
            if optimizer.sparse:  # torch's SparseAdam corrects after adding eps
                denominator = (mpmath.sqrt(v) + optimizer.eps) / mpmath.sqrt(1 - beta2**t)
            else:
                denominator = mpmath.sqrt(v / (1 - beta2**t)) + optimizer.eps
            new[r].append(x - optimizer.learning_rate * m_hat / denominator)
    return new, Adam(first, second, t)


def lookahead_loss(
    users: Table,
    items: Table,
    strengths: tuple[Strength, Strength],
    train: Sequence[Batch],
    valid: Batch,
    optimizer: Optimizer,
    shares: tuple[list[mpf], list[mpf]] | None,
) -> mpf:
    """Validation loss after a step on each training batch, with the penalty in its gradient.

    ``shares`` gives each row's part in the penalty; ``None`` takes its count in the batch over B.
    """
    states = optimizer.states
    for batch in train:
        fits = bpr_gradient(users, items, batch)
        counts = [[mpf(0)] * len(users), [mpf(0)] * len(items)]
        for u, i, j in batch:
            counts[0][u] += mpf(1) / len(batch)
            counts[1][i] += mpf(1) / len(batch)
            counts[1][j] += mpf(1) / len(batch)
        now = Optimizer(**{**vars(optimizer), "states": states})
        tables, after = [], {}
        for side, (name, table) in enumerate((("user", users), ("item", items))):
            share = counts[side] if shares is None else shares[side]
            gradient = [
                [
                    g + 2 * share[r] * strengths[side](r, k) * x
                    for k, (g, x) in enumerate(zip(*rows, strict=True))
                ]
                for r, rows in enumerate(zip(fits[side], table, strict=True))
            ]
            touched = {r for r in range(len(table)) if counts[side][r] or share[r]}
            new, after[name] = step(name, table, gradient, now, touched)
            tables.append(new)
        users, items = tables
        states = None if states is None else after
    return bpr(users, items, valid)


def derivative(function: Callable[[mpf], mpf], at: mpf) -> mpf:
    """Central difference."""
    return (function(at + _STEP) - function(at - _STEP)) / (2 * _STEP)
