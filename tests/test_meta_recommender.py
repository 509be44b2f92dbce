"""What holds for every meta-learner."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_ext import load_data_and_model, run_recbole
from recbole_ext.data.tasks import Ratings, TaskBatch
from recbole_ext.functional.inner_loop import mean_error
from tests.cold_world import cold_world
from tests.helpers import QUICK, Run, same

__all__ = ["cold_world"]

GRADIENT = {"inner_solver": "gradient"}
ADAM = {"inner_batch_size": 3, "inner_optimizer": "adam"}
LEARNERS = {
    "MeLU ridge": {"model": "MeLU"},
    "MeLU gradient": {"model": "MeLU", **GRADIENT},
    "MeLU paper": {"model": "MeLU", "preset": "paper"},
    "MAMO ridge": {"model": "MAMO"},
    "MAMO gradient": {"model": "MAMO", **GRADIENT, **ADAM},
    "MAMO paper": {"model": "MAMO", "preset": "paper"},
}


@pytest.fixture(params=LEARNERS.values(), ids=LEARNERS)
def run(request: pytest.FixtureRequest, cold_world: dict[str, Any]) -> Run:
    return Run(**{**request.param, **cold_world}).fit()


def padded_predictions(run: Run) -> tuple[TaskBatch, torch.Tensor]:
    tasks = run.model.split.evaluation
    batch = tasks.batch(torch.arange(len(tasks)))
    run.model.eval()
    return batch, run.model.predict_tasks(batch)


def test_a_task_is_predicted_alike_alone_and_in_any_batch(run: Run) -> None:
    batch, together = padded_predictions(run)
    for task in range(len(batch)):
        alone = run.model.predict_tasks(run.model.split.evaluation.batch(torch.tensor([task])))
        size = alone.shape[1]
        torch.testing.assert_close(together[task, :size], alone[0], rtol=1e-4, atol=1e-4)


def test_recboles_rows_are_predicted_from_their_tasks(run: Run) -> None:
    batch, together = padded_predictions(run)
    rows = run.data[2]._dataset.inter_feat
    with torch.no_grad():
        found = run.model.predict(rows)
    for row in range(0, len(found), 7):
        task = rows["task_id"][row]
        slot = (batch.query.items[task] == rows["item_id"][row]) & (batch.query.mask[task] > 0)
        wanted = together[task, slot.nonzero()[0, 0]].clamp(*run.model.rating_range)
        torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-4)


def test_recboles_metrics_and_ours_are_of_the_same_predictions(run: Run) -> None:
    result = run.trainer.evaluate(run.data[2], load_best_model=False)
    stock = super(type(run.trainer), run.trainer).evaluate(run.data[2], load_best_model=False)
    assert stock["mae"] == pytest.approx(result["mae"], abs=2e-4)
    assert stock["rmse"] == pytest.approx(result["rmse"], abs=2e-4)
    scenarios = {"W-W", "W-C", "C-W", "C-C"}
    assert {f"{scenario} ndcg_linear@3" for scenario in scenarios} <= set(result)


def test_all_items_are_ranked_from_all_that_is_known_of_a_user(run: Run) -> None:
    split = run.model.split
    users = split.known.users[:6]
    with torch.no_grad():
        scores = run.model.full_sort_predict(Interaction({"user_id": users}))
        support = split.known.batch(torch.arange(6)).support
        adapted = run.model.adapt(users, support)
        some = torch.tensor([[1, 5, 9]]).expand(6, -1)
        wanted = run.model.score(users, some, support, adapted)
    found = scores.view(6, run.model.n_items)[:, [1, 5, 9]]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_users_of_whom_nothing_is_known_get_the_meta_initialisation_which_is_said_once(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = 0  # RecBole's padding user has no ratings
    rows = Interaction({"user_id": torch.tensor([stranger] * 3), "item_id": torch.arange(1, 4)})
    nothing = Ratings(*torch.zeros(3, 1, 1))
    nothing = Ratings(nothing.items.long(), nothing.ratings, nothing.mask)
    with caplog.at_level(logging.WARNING), torch.no_grad():
        found = run.model.predict(rows)
        run.model.predict(rows)
        users = torch.tensor([stranger])
        start = run.model.adapt(users, nothing)
        wanted = run.model.score(users, rows["item_id"].unsqueeze(0), nothing, start)
    torch.testing.assert_close(found, wanted[0].clamp(*run.model.rating_range))
    assert sum("no support set" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_gradients_are_clamped(model: str, cold_world: dict[str, Any]) -> None:
    for clamp, largest in ((1e-4, 1e-4), (0.0, float("inf"))):
        run = Run(model, **cold_world, gradient_clamp=clamp)
        tasks = run.model.split.training.resplit(5, None, 60, torch.Generator())
        run.model.calculate_loss(tasks.batch(torch.arange(4))).backward()
        found = max(p.grad.abs().max().item() for p in run.model.parameters() if p.grad is not None)
        assert found <= largest * 1.001
        assert found > 0
    assert found > 1e-4


@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_ranking_metrics_rank_all_items(model: str, cold_world: dict[str, Any]) -> None:
    result = run_recbole(
        model, None, None, {**QUICK, **cold_world, "metrics": ["Recall", "NDCG"], "topk": [5]}
    )
    assert set(result["test_result"]) == {"recall@5", "ndcg@5"}
    assert result["valid_score_bigger"]
    assert "scenarios" not in result


def test_ranking_masks_the_support_set(cold_world: dict[str, Any]) -> None:
    run = Run("MeLU", **cold_world, metrics=["Recall"], topk=[5])
    data = run.data[2]
    known = run.model.split.known
    history = {
        user: set(known.items[known.starts[at] : known.starts[at + 1]].tolist())
        for at, user in enumerate(known.users.tolist())
    }
    for users, (row, item), _, _ in data:
        masked: dict[int, set] = {}
        for r, i in zip(row.tolist(), item.tolist(), strict=True):
            masked.setdefault(int(users["user_id"][r]), set()).add(i)
        for user in users["user_id"].tolist():
            assert history[user] <= masked[user]


@pytest.mark.parametrize("model", ["MeLU", "MAMO"])
def test_a_run_gives_the_same_again_and_its_checkpoint_the_same_scores(
    model: str, cold_world: dict[str, Any]
) -> None:
    settings = {**QUICK, **cold_world}
    first, second = (run_recbole(model, None, None, settings) for _ in range(2))
    assert first["test_result"] == second["test_result"]
    assert {row["method"] for row in first["scenarios"]} >= {model, "biases", "random"}
    _config, trained, _, _, _, test = load_data_and_model(first["checkpoint"])
    rows = test._dataset.inter_feat
    with torch.no_grad():
        trained.eval()
        error = (trained.predict(rows) - rows["rating"]).abs().mean()
    assert error.item() == pytest.approx(first["test_result"]["mae"], abs=1e-4)


@pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
def test_an_interrupted_run_ends_as_one_in_one_piece(
    learner: dict[str, Any], cold_world: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**learner, **cold_world, "eval_step": 0}
    whole = Run(**settings, epochs=4, checkpoint_dir=str(tmp_path / "a")).fit(valid=False)
    half = Run(**settings, epochs=2, checkpoint_dir=str(tmp_path / "b")).fit(valid=False)
    file = half.trainer.saved_model_file
    rest = Run(**settings, epochs=4, resume_file=file).fit(valid=False)
    assert same(whole.state(), rest.state())


def test_an_empty_query_costs_nothing() -> None:
    zeros = torch.zeros(1, 3)
    assert mean_error(zeros + 1, zeros, zeros).item() == 0.0
