"""The softmax over drawn items: no bias, the gradients, and the gradient of λ through training."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recbole_ext.lambda_opt.gradient.candidates import CandidateSampler
from recbole_ext.lambda_opt.gradient.row_adam import RowAdam
from recbole_ext.lambda_opt.gradient.softmax import hit_gradients, softmax_gradients
from recbole_ext.lambda_opt.gradient.through_training import ForwardGradient
from recbole_ext.lambda_opt.gradient.user_batch import Factors, UserBatch, rows_of_batch
from recbole_ext.lambda_opt.lambda_network import PowerLaw
from recbole_ext.lambda_opt.softmax_objective import SoftmaxObjective
from recbole_ext.lambda_opt.user_batches import with_candidates
from tests.lambda_opt.softmax_reference import N_ITEMS, N_USERS, TRAIN, VALID, batch, factors, hit
from tests.lambda_opt.softmax_reference import likelihood as likelihood_of_all
from tests.worlds.helpers import SHORT, Run

COUNTS = torch.tensor([0, 3, 1, 0, 7, 2, 2, 5, 4])
STEPS, RATE = 14, 0.05


def sampled(some: UserBatch, drawn: list[int] | int, seed: int = 0) -> UserBatch:
    """A batch with drawn items; ``drawn`` is their number, or what is drawn."""
    sampler = CandidateSampler(COUNTS, drawn if isinstance(drawn, int) else len(drawn))
    if isinstance(drawn, list):
        sampler.draw = lambda generator=None: torch.tensor(drawn)  # type: ignore[method-assign]
    return with_candidates(some, sampler, torch.Generator().manual_seed(seed))


def total_of(parts: Factors, some: UserBatch, drawn: list[int], row: int) -> Tensor:
    """What stands for ``Σ_j exp(s_uj)``, item by item."""
    chance = (COUNTS.double() + 1) * (torch.arange(N_ITEMS) > 0)
    chance = chance / chance.sum()
    own = {int(i) for r, i in zip(some.rows, some.items, strict=True) if r == row}
    barred = {int(i) for r, i in zip(*(some.barred or ([], [])), strict=True) if r == row} - own
    score = parts.items @ parts.users[some.users[row]] + parts.bias
    terms = [score[item].exp() for item in own]
    for item in drawn:
        if item not in own | barred:
            terms.append(score[item].exp() / (len(drawn) * chance[item]))
    return torch.stack(terms).sum()


def likelihood(parts: Factors, some: UserBatch, drawn: list[int]) -> Tensor:
    loss = torch.zeros((), dtype=torch.double)
    for row, user in enumerate(some.users.tolist()):
        items, times = (part[some.rows == row] for part in (some.items, some.times))
        score = parts.items @ parts.users[user] + parts.bias
        total = total_of(parts, some, drawn, row)
        loss = loss + times.sum() * total.log() - (score[items] * times).sum()
    return loss / some.divisor


def test_the_sum_over_the_items_is_not_biased() -> None:
    parts, chance = factors(), CandidateSampler(COUNTS, 2).chance
    for some in (TRAIN, VALID):
        mean = torch.zeros(len(some.users), dtype=torch.double)
        for drawn in itertools.product(range(1, N_ITEMS), repeat=2):
            local, found = rows_of_batch(parts, sampled(some, list(drawn)))
            read = softmax_gradients(local, found)
            score = local.items @ local.users.T + local.bias.unsqueeze(1)
            # ``chance`` is exp(score) over the estimated sum, for any item of the user's own
            own = [int((found.rows == row).nonzero()[0]) for row in range(len(some.users))]
            chances = read.chance.of_pairs()
            totals = [score[found.items[p], r].exp() / chances[p] for r, p in enumerate(own)]
            mean += torch.stack(totals) * chance[list(drawn)].prod()
        for row, user in enumerate(some.users.tolist()):
            own_items = {int(i) for r, i in zip(some.rows, some.items, strict=True) if r == row}
            bars = some.barred or ([], [])
            barred = {int(i) for r, i in zip(*bars, strict=True) if r == row} - own_items
            score = parts.items @ parts.users[user] + parts.bias
            kept = [item for item in range(1, N_ITEMS) if item not in barred]
            assert mean[row].item() == pytest.approx(score[kept].exp().sum().item(), rel=1e-6)


def test_the_penalty_of_the_items_is_not_biased() -> None:
    owned = [[1, 2], [2, 5], [4], [4, 5, 7]]
    counts = torch.zeros(N_ITEMS, dtype=torch.long)
    for items in owned:
        counts[items] += 1
    sampler, share = CandidateSampler(counts, 3), torch.zeros(N_ITEMS)
    batches = list(itertools.combinations(range(4), 2))
    for users in batches:
        found = with_candidates(batch([u + 1 for u in users], [owned[u] for u in users]), sampler)
        assert found.candidates is not None
        share[found.candidates.items] += found.candidates.penalty.squeeze(1) / len(batches)
    torch.testing.assert_close(share, (counts > 0) / 4)


def test_draws_follow_the_training_ratings() -> None:
    sampler = CandidateSampler(COUNTS, 200_000)
    found = sampler.draw(torch.Generator().manual_seed(1)).bincount(minlength=N_ITEMS) / 200_000
    assert found[0] == 0
    torch.testing.assert_close(found.double(), sampler.chance, atol=0.004, rtol=0)


@pytest.mark.parametrize("some", [TRAIN, VALID], ids=["train", "valid"])
def test_the_gradients_are_autograds(some: UserBatch) -> None:
    drawn = [4, 4, 7, 2, 3]
    leaves = Factors(*(part.clone().requires_grad_() for part in factors()))
    value = likelihood(leaves, some, drawn)
    expected = torch.autograd.grad(value, leaves)
    found = sampled(some, drawn)
    read = softmax_gradients(*rows_of_batch(factors(), found))
    assert found.candidates is not None
    assert read.loss.item() == pytest.approx(value.item(), rel=1e-6)
    places = some.users, found.candidates.items, found.candidates.items
    for gradient, of_rows, ids in zip(expected, read.gradients, places, strict=True):
        whole = torch.zeros_like(gradient).index_add_(0, ids, of_rows)
        torch.testing.assert_close(whole, gradient, rtol=1e-5, atol=1e-6)


def test_many_drawn_items_come_to_the_loss_of_all() -> None:
    found = sampled(VALID, 400_000)
    value, _ = hit_gradients(*rows_of_batch(factors(), found), lambda _: torch.tensor(0.7))
    expected = hit(factors(), VALID, 0.7)
    assert value.item() == pytest.approx(expected.item(), abs=0.02)


class Training:
    """A small training with drawn items and its power law of λ."""

    def __init__(self, kind: str) -> None:
        self.law = PowerLaw(N_USERS, N_ITEMS, (0.6, 1.7), (0.4, -0.3)).double()
        self.law.tell_counts("user", torch.tensor([0, 3, 2, 1, 4, 2, 2]))
        self.law.tell_counts("item", COUNTS)
        generator = torch.Generator().manual_seed(5)
        some = [[2, 5], [1, 8, 4], [5], [6, 7], [2, 8]]
        self.kind, self.steps = kind, []
        for seed in range(STEPS):
            users = (1 + torch.randperm(N_USERS - 2, generator=generator)[:3]).tolist()
            drawn = CandidateSampler(COUNTS, 4).draw(torch.Generator().manual_seed(seed)).tolist()
            self.steps.append((batch(users, [some[user - 1] for user in users]), drawn))

    def gradients(self) -> dict[str, float]:
        return {name: weight.grad.item() for name, weight in self.law.weights.items()}

    def forward(self) -> dict[str, float]:
        parts = [nn.Parameter(part) for part in factors()]
        tables = [SimpleNamespace(weight=part) for part in parts[:2]]
        model: Any = SimpleNamespace(
            user_embedding=tables[0], item_embedding=tables[1], item_bias=parts[2],
            n_users=N_USERS, softmax_items=4,
        )  # fmt: skip
        objective = SoftmaxObjective(model, 3, False, torch.device("cpu"))
        optimizers = {"sgd": torch.optim.SGD, "sparse_adam": RowAdam}
        optimizer = optimizers[self.kind](parts, lr=RATE)
        carried = ForwardGradient(objective.gradients(), optimizer, objective.sides(), self.law)
        for some, drawn in self.steps:
            found = sampled(some, drawn)
            read = objective.read(found)
            carried.begin(found, read)
            carried.end()
            optimizer.zero_grad()
            objective.loss(found, found, read, self.law).backward()
            optimizer.step()
        self.law.zero_grad()
        carried.add(VALID)
        return self.gradients()

    def unrolled(self) -> dict[str, float]:
        """Plain autograd through every step, in which Adam leaves alone the rows not touched."""
        parts = [part.requires_grad_() for part in factors()]
        first, second = ([torch.zeros_like(part) for part in parts] for _ in range(2))
        for step, (some, drawn) in enumerate(self.steps, 1):
            own = some.items.bincount(some.times, minlength=N_ITEMS)
            share = own / (COUNTS.clamp(min=1) * len(some.users))
            now = Factors(*parts)
            of_users = self.law.user(some.users) * now.users[some.users].square()
            of_items = self.law.item(slice(None)) * share.unsqueeze(1) * now.items.square()
            loss = likelihood(now, some, drawn)
            loss = loss + of_users.sum() / len(some.users) + of_items.sum()
            slopes = torch.autograd.grad(loss, parts, create_graph=True)
            touched = torch.zeros(N_ITEMS, dtype=torch.bool)
            touched[drawn] = touched[some.items] = True
            present = torch.zeros(N_USERS, dtype=torch.bool)
            present[some.users] = True
            masks = present.unsqueeze(1), touched.unsqueeze(1), touched
            for at, (mask, slope) in enumerate(zip(masks, slopes, strict=True)):
                if self.kind == "sgd":
                    parts[at] = parts[at] - RATE * slope
                    continue
                first[at] = torch.where(mask, 0.9 * first[at] + 0.1 * slope, first[at])
                moved = 0.999 * second[at] + 0.001 * slope.square()
                second[at] = torch.where(mask, moved, second[at])
                positive = mask & (second[at] > 0)
                root = torch.where(positive, second[at], 1.0).sqrt() + 1e-8
                rate = RATE * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                parts[at] = parts[at] - torch.where(positive, rate * first[at] / root, 0.0)
        whole = likelihood_of_all(Factors(*parts), VALID)
        weights = list(self.law.weights.values())
        for weight, slope in zip(weights, torch.autograd.grad(whole, weights), strict=True):
            weight.grad = slope
        return self.gradients()


@pytest.mark.parametrize("kind", ["sparse_adam", "sgd"])
def test_the_gradient_of_the_four_numbers_is_the_unrolled_one(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # the weights of the candidates
    forward = Training(kind).forward()
    assert len(forward) == 4
    assert all(abs(value) > 1e-6 for value in forward.values())
    assert forward == pytest.approx(Training(kind).unrolled(), rel=1e-8)


def test_a_step_leaves_other_rows_alone() -> None:
    run = Run(loss="softmax", softmax_items=20, train_batch_size=16, regularizer="fixed",
              reg_weight=3.0, lambda_granularity="power-law")  # fmt: skip
    model, trainer = run.model, run.trainer
    assert isinstance(trainer.optimizer, RowAdam)
    before = model.item_embedding.weight.detach().clone()
    some = next(iter(trainer.objective.loader(run.data[0])))
    read = trainer.objective.read(some)
    loss = trainer.objective.loss(some, some, read, trainer.lambda_network)
    plain = model.calculate_loss(some)
    assert plain.item() == pytest.approx(read.loss.item(), rel=1e-4)
    loss.backward()
    trainer.optimizer.step()
    changed = (model.item_embedding.weight != before).any(1).nonzero().squeeze(1)
    assert set(changed.tolist()) <= set(some.candidates.items.tolist())
    assert len(changed) > 20


def test_a_training_with_drawn_items_learns() -> None:
    given = {**SHORT, "epochs": 4, "lambda_steps": 30, "lambda_warmup_steps": 4}
    run = Run(loss="softmax", softmax_items=300, train_batch_size=128, **given)
    before = {k: v.item() for k, v in run.trainer.lambda_network.weights.items()}
    score, _ = run.trainer.fit(run.data[0], run.data[1], saved=False)
    after = {k: v.item() for k, v in run.trainer.lambda_network.weights.items()}
    assert all(math.isfinite(value) for value in after.values())
    assert after != before
    assert score > 0.1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "bpr", "softmax_items": 50}, "softmax_items: 50 needs loss: softmax"),
        ({"loss": "softmax", "softmax_items": 50, "learner": "adam"}, "sparse_adam or sgd"),
        ({"loss": "softmax", "softmax_items": 0}, "softmax_items must be"),
        ({"loss": "softmax", "learner": "sparse_adam"}, "sparse_adam with softmax_items"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Run(**given)
