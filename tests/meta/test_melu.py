"""MeLU in a world whose right answer is known, and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext import run_recbole
from recbole_ext.meta.judging.graded_ndcg import graded_ndcg
from tests.contracts.meta_learners import MetaContract
from tests.worlds.cold_world import opposite_tastes, write_cold_world
from tests.worlds.helpers import Run


class TestRidge(MetaContract):
    """The default: the last layer is solved for."""

    model = "MeLU"
    known = {"mae": 0.7837}


class TestGradient(MetaContract):
    """Gradient steps on all layers, around what the biases leave over."""

    model = "MeLU"
    settings = {"inner_solver": "gradient"}
    known = {"mae": 0.7769}


class TestPaper(MetaContract):
    """The published model."""

    model = "MeLU"
    settings = {"preset": "paper"}
    known = {"mae": 1.9889}


def test_training_differentiates_through_the_adaptation(cold_world: dict[str, Any]) -> None:
    def gradient(**settings: Any) -> torch.Tensor:
        run = Run("MeLU", **cold_world, preset="paper", inner_learning_rate=0.05, **settings)
        split = run.model.split
        run.model.calculate_loss(split.training.batch(torch.arange(4))).backward()
        return run.model.decision.items.content.embeddings[0].weight.grad

    fixed = {"resample_queries": False}
    assert not torch.allclose(gradient(**fixed), gradient(**fixed, first_order=True), rtol=1e-3)


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


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("inner_steps", 0, "inner_steps must be a whole number of at least 1, got 0"),
        ("inner_learning_rate", 0.0, "inner_learning_rate must be a number above 0"),
        ("inner_solver", "adam", "inner_solver must be one of ridge, gradient, sum; got 'adam'"),
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
