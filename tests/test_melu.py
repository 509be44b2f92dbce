"""MeLU under RecBole's evaluation, in a world whose right answer is known, and its settings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_ext import load_data_and_model, run_recbole
from recbole_ext.data.tasks import Ratings, TaskBatch
from recbole_ext.evaluation.graded_ndcg import graded_ndcg
from recbole_ext.functional.inner_loop import mean_error
from tests.cold_world import cold_world, opposite_tastes, write_cold_world
from tests.helpers import QUICK, Run, same

__all__ = ["cold_world"]

SOLVERS = [{"inner_solver": "ridge"}, {"preset": "paper"}, {"inner_solver": "gradient"}]


@pytest.fixture(params=SOLVERS, ids=["ridge", "paper", "gradient"])
def run(request: pytest.FixtureRequest, cold_world: dict[str, Any]) -> Run:
    return Run("MeLU", **cold_world, **request.param).fit()


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


def test_training_differentiates_through_the_adaptation(cold_world: dict[str, Any]) -> None:
    def gradient(**settings: Any) -> torch.Tensor:
        run = Run("MeLU", **cold_world, preset="paper", inner_learning_rate=0.05, **settings)
        split = run.model.split
        run.model.calculate_loss(split.training.batch(torch.arange(4))).backward()
        return run.model.decision.item_content.embeddings[0].weight.grad

    fixed = {"resample_queries": False}
    assert not torch.allclose(gradient(**fixed), gradient(**fixed, first_order=True), rtol=1e-3)


def test_gradients_are_clamped(cold_world: dict[str, Any]) -> None:
    for clamp, largest in ((1e-4, 1e-4), (0.0, float("inf"))):
        run = Run("MeLU", **cold_world, gradient_clamp=clamp)
        tasks = run.model.split.training.resplit(5, None, 60, torch.Generator())
        run.model.calculate_loss(tasks.batch(torch.arange(4))).backward()
        found = max(p.grad.abs().max().item() for p in run.model.parameters() if p.grad is not None)
        assert found <= largest * 1.001
        assert found > 0
    assert found > 1e-4


def nearness(run: Run, with_support: bool) -> float:
    """Mean nDCG@3 over the tasks of cold users with warm items."""
    split = run.model.split
    tasks = (split.evaluation.scenarios == 2).nonzero().squeeze(-1)
    batch = split.evaluation.batch(tasks)
    if not with_support:
        batch = batch.without_support(torch.ones(len(batch), dtype=torch.bool), batch.users)
    run.model.eval()
    with torch.no_grad():
        scores = run.model.predict_tasks(batch)
    return graded_ndcg(scores, batch.query.ratings, batch.query.mask, 3).mean().item()


GRADIENT = {"inner_solver": "gradient", "inner_steps": 5, "inner_learning_rate": 0.1}


@pytest.mark.parametrize(
    "solver",
    [{"epochs": 60}, {**GRADIENT, "residual": False, "weight_decay": 0.0, "epochs": 100}],
    ids=["ridge", "gradient"],
)
def test_two_opposite_tastes_are_told_apart_by_five_ratings_and_by_nothing_else(
    solver: dict[str, Any], tmp_path: Path
) -> None:
    world = write_cold_world(tmp_path / "data", opposite_tastes)
    settings = {**solver, "support_size": 5, "stopping_step": 100, "learning_rate": 0.01}
    run = Run("MeLU", **{**world, **settings, "task_ratings": [10, 60]}).fit()
    assert nearness(run, with_support=True) == pytest.approx(1.0)
    assert nearness(run, with_support=False) == pytest.approx(0.70, abs=0.06)  # chance


def test_ranking_metrics_rank_all_items(cold_world: dict[str, Any]) -> None:
    result = run_recbole(
        "MeLU", None, None, {**QUICK, **cold_world, "metrics": ["Recall", "NDCG"], "topk": [5]}
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


def test_a_run_gives_the_same_again_and_its_checkpoint_the_same_scores(
    cold_world: dict[str, Any],
) -> None:
    settings = {**QUICK, **cold_world}
    first, second = (run_recbole("MeLU", None, None, settings) for _ in range(2))
    assert first["test_result"] == second["test_result"]
    assert {row["method"] for row in first["scenarios"]} >= {"MeLU", "biases", "random"}
    _config, model, _, _, _, test = load_data_and_model(first["checkpoint"])
    rows = test._dataset.inter_feat
    with torch.no_grad():
        model.eval()
        error = (model.predict(rows) - rows["rating"]).abs().mean()
    assert error.item() == pytest.approx(first["test_result"]["mae"], abs=1e-4)


@pytest.mark.parametrize("solver", SOLVERS[:2])
def test_an_interrupted_run_ends_as_one_in_one_piece(
    solver: dict[str, Any], cold_world: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**cold_world, **solver, "eval_step": 0}
    whole = Run("MeLU", **settings, epochs=4, checkpoint_dir=str(tmp_path / "a")).fit(valid=False)
    half = Run("MeLU", **settings, epochs=2, checkpoint_dir=str(tmp_path / "b")).fit(valid=False)
    file = half.trainer.saved_model_file
    rest = Run("MeLU", **settings, epochs=4, resume_file=file).fit(valid=False)
    assert same(whole.state(), rest.state())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("inner_steps", 0, "inner_steps must be a whole number of at least 1, got 0"),
        ("inner_learning_rate", 0.0, "inner_learning_rate must be a number above 0"),
        ("inner_solver", "adam", "inner_solver must be one of ridge, gradient; got 'adam'"),
        ("outer_loss", "huber", "outer_loss must be one of absolute, squared"),
        ("mlp_hidden_size", 64, "mlp_hidden_size must be a list of whole numbers, got 64"),
        ("mlp_hidden_size", [64, 0], "mlp_hidden_size must be a whole number of at least 1, got 0"),
        ("first_order", "yes", "first_order must be True or False, got 'yes'"),
        ("ridge_strength", -1, "ridge_strength must be a number above 0, got -1"),
        ("factorized_start", 65, r"factorized_start must be at most factor_size \(64\), got 65"),
        ("gradient_clamp", -1, "gradient_clamp must be a number of at least 0, got -1"),
        ("train_batch_size", 0, "train_batch_size must be a whole number of at least 1, got 0"),
    ],
)
def test_a_value_out_of_range_is_named_before_any_data_is_loaded(
    key: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run_recbole("MeLU", "no-such-data", None, {key: value})


def test_the_gradient_solver_needs_users_to_be_described(cold_world: dict[str, Any]) -> None:
    (Path(cold_world["data_path"]) / "cold" / "cold.user").unlink()
    assert Run("MeLU", **cold_world).fit().test()["mae"] > 0
    with pytest.raises(ValueError, match="no field describes the users"):
        Run("MeLU", **cold_world, preset="paper")


def test_an_empty_query_costs_nothing() -> None:
    zeros = torch.zeros(1, 3)
    assert mean_error(zeros + 1, zeros, zeros).item() == 0.0
