"""Graded nDCG against scikit-learn's, the baselines against obvious ones, evidence candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score
from torch import nn

from recbole_ext.__main__ import main
from recbole_ext.meta.adapting.biases import item_biases
from recbole_ext.meta.adapting.factorization import factors
from recbole_ext.meta.judging import evidence
from recbole_ext.meta.judging.by_scenario import batches, judge
from recbole_ext.meta.judging.floors import floors
from recbole_ext.meta.judging.graded_ndcg import graded_ndcg
from tests.worlds.helpers import Run


@pytest.mark.parametrize("gain", ["linear", "exponential"])
@pytest.mark.parametrize("cutoff", [1, 3, 5])
def test_ndcg_is_that_of_scikit_learn_with_ties_and_padding(gain: str, cutoff: int) -> None:
    random = np.random.default_rng(0)
    sizes = random.integers(2, 12, size=50)
    scores, ratings = (torch.zeros(50, 12, dtype=torch.double) for _ in range(2))
    mask = torch.zeros(50, 12, dtype=torch.double)
    wanted = []
    for row, size in enumerate(sizes):
        drawn = random.integers(1, 6, size=size)
        some = random.integers(0, 4, size=size) / 2 - 1  # many ties, and scores below 0
        scores[row, :size], ratings[row, :size] = torch.tensor(some), torch.tensor(drawn)
        mask[row, :size] = 1
        gains = drawn if gain == "linear" else 2**drawn - 1
        wanted.append(ndcg_score([gains], [some], k=cutoff))
    found = graded_ndcg(scores, ratings, mask, cutoff, gain)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)


def test_ndcg_of_ratings_below_0_counts_from_the_least() -> None:
    mask = torch.ones(1, 3, dtype=torch.double)
    ratings = torch.tensor([[-10.0, 8.0, 3.0]], dtype=torch.double)
    for gain in ("linear", "exponential"):
        for scores in (torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[1.0, 1.0, 2.0]])):
            found = graded_ndcg(scores.double(), ratings, mask, 2, gain, worthless=-10.0)
            wanted = graded_ndcg(scores.double(), ratings + 10, mask, 2, gain)
            assert 0 < wanted.item() < 1
            assert found.item() == pytest.approx(wanted.item())
    large = graded_ndcg(-ratings, ratings * 100, mask, 3, "exponential", worthless=-1000.0)
    assert large.item() == pytest.approx(0.5)  # 2^1800 is no number; the best stands third


def test_factors_are_those_of_alternating_least_squares_written_out() -> None:
    random = np.random.default_rng(1)
    users, items = (x.reshape(-1) for x in np.meshgrid(range(6), range(5)))
    kept = random.random(30) < 0.7
    users, items = users[kept], items[kept]
    targets = random.normal(size=len(users))
    found = factors(*map(torch.tensor, (users, items, targets)), 5, 2, 0.5, rounds=3, seed=4)
    q = np.random.default_rng(4).normal(scale=0.1, size=(5, 2))
    p = np.zeros((6, 2))
    for _ in range(3):
        for side, other, owner, rated in ((p, q, users, items), (q, p, items, users)):
            for row in range(len(side)):
                x, y = other[rated[owner == row]], targets[owner == row]
                side[row] = np.linalg.solve(x.T @ x + 0.5 * np.eye(2), x.T @ y)
    for side, wanted in zip(found, (p, q), strict=True):
        np.testing.assert_allclose(side.numpy(), wanted, rtol=1e-9)


def test_biases_solve_their_ridge_regression() -> None:
    torch.manual_seed(0)
    users, items = torch.randint(8, (60,)), torch.randint(6, (60,))
    ratings = torch.randn(60, dtype=torch.double)
    prior = torch.randn(6, dtype=torch.double)
    mean, found = item_biases(users, items, ratings, prior, (2.0, 3.0), rounds=200)
    design = torch.cat([nn.functional.one_hot(users, 8), nn.functional.one_hot(items, 6)], 1)
    design = design.double()
    penalty = torch.diag(torch.tensor([2.0] * 8 + [3.0] * 6, dtype=torch.double))
    targets = ratings - ratings.mean() - prior[items]
    solved = torch.linalg.solve(design.T @ design + penalty, design.T @ targets)
    assert mean == ratings.mean()
    torch.testing.assert_close(found, prior + solved[8:], rtol=1e-9, atol=1e-9)


def test_baselines_are_judged_on_the_same_tasks_and_the_simple_ones_are_what_they_say(
    cold_world: dict[str, Any],
) -> None:
    run = Run("MeLU", **cold_world)
    train = run.data[0]._dataset
    split = train.split
    valid = [b for b, _ in batches(split.evaluation, split.is_valid.nonzero().squeeze(-1))]
    found = floors(train, valid)
    assert list(found)[:1] == ["random"]
    _, items, ratings = split.training_ratings
    batch = split.evaluation.batch(torch.arange(5))
    there = batch.query.mask > 0
    means = [ratings[items == i].mean() if (items == i).any() else ratings.mean()
             for i in batch.query.items[there].tolist()]  # fmt: skip
    torch.testing.assert_close(found["item mean"](batch)[there], torch.stack(means))
    for row in range(5):
        support = batch.support.ratings[row][batch.support.mask[row] > 0]
        torch.testing.assert_close(found["support mean"](batch)[row, 0], support.mean())
    constant = next(name for name in found if name.startswith("constant"))
    assert float(constant.split()[1]) == ratings.median()
    chosen = (~split.is_valid).nonzero().squeeze(-1)
    rows = [judge(name, p, split.evaluation, chosen, (1.0, 5.0)) for name, p in found.items()]
    assert {tuple(row["tasks"] for row in table) for table in rows} == {
        tuple(row["tasks"] for row in rows[0])
    }
    mae = {table[-1]["method"]: table[-1]["mae"] for table in rows}
    assert mae["biases"] < mae["support mean"] < mae["random"]


def test_errors_and_scenarios_are_summed_over_ratings(cold_world: dict[str, Any]) -> None:
    split = Run("MeLU", **cold_world).data[0]._dataset.split
    tasks = split.evaluation
    chosen = torch.arange(len(tasks))
    table = judge("three", lambda b: torch.full_like(b.query.ratings, 9.0), tasks, chosen, (1, 3))
    by_scenario = {row["scenario"]: row for row in table}
    query = tasks.batch(chosen).query
    mine = (tasks.scenarios == 3).unsqueeze(-1) & (query.mask > 0)
    errors = (query.ratings[mine] - 3).abs()
    assert by_scenario["C-C"]["mae"] == pytest.approx(errors.mean().item(), abs=1e-6)
    assert by_scenario["C-C"]["rmse"] == pytest.approx(errors.square().mean().sqrt().item())


@pytest.mark.parametrize("settings", [{}, {"preset": "paper"}], ids=["ridge", "gradient"])
def test_evidence_gradients_are_those_of_each_rating_alone(
    settings: dict[str, Any], cold_world: dict[str, Any]
) -> None:
    run = Run("MeLU", **cold_world, **settings).fit()
    users, items, ratings = (x[:20] for x in run.model.split.training_ratings)
    found = evidence.gradient_norms(run.model, users, items, ratings)
    run.model.eval()
    for at in (0, 7, 19):
        one = slice(at, at + 1)
        support = run.model.split.training.batch(torch.tensor([0])).support
        empty = type(support)(items[None, one], ratings[None, one], torch.zeros(1, 1))
        if settings:
            weights = list(run.model.decision.weights)
            halves = weights[0].split([8, 4])
            start = [w.unsqueeze(0) for w in (*halves, *weights[1:])]
        else:
            weights = start = [torch.zeros(1, 4, requires_grad=True)]
        loss = (run.model.score(users[one], items[None, one], empty, start) - ratings[at]) ** 2
        gradient = torch.autograd.grad(loss.squeeze(), weights)
        norm = nn.utils.get_total_norm(gradient) if hasattr(nn.utils, "get_total_norm") else (
            sum(g.square().sum() for g in gradient) ** 0.5
        )  # fmt: skip
        assert found[at].item() == pytest.approx(norm.item() / max(loss.item(), 1e-4), rel=1e-4)


def test_evidence_candidates_are_known_items_best_first(
    cold_world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run("MeLU", **cold_world).fit()
    rows = evidence.evidence_candidates(run.model, run.data[0]._dataset, topk=7)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert len({row["item_id"] for row in rows}) == 7
    for row in rows:
        assert row["score"] == pytest.approx(row["gradient"] * row["popularity"], rel=1e-5)
    with pytest.raises(ValueError, match="topk must be a whole number of at least 1, got 0"):
        evidence.evidence_candidates(run.model, run.data[0]._dataset, topk=0)
    assert main(["ask", run.trainer.saved_model_file, "--topk=3"]) == 0
    printed = capsys.readouterr().out
    assert rows[0]["item_id"] in printed
    assert rows[0]["genre"] in printed
    assert main(["ask", "no-such-file.pth"]) == 1
    assert "no-such-file.pth" in capsys.readouterr().err
