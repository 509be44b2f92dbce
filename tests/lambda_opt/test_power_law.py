"""Whole trainings under the softmax, with λ as a power law that is learnt or given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from recbole_ext.lambda_opt.building import initial_strength
from recbole_ext.lambda_opt.gradient.calibration import Temperature, bpr_derivatives
from recbole_ext.lambda_opt.gradient.derivatives import AutogradGradients, FactorisationGradients
from recbole_ext.lambda_opt.lambda_network import PowerLaw
from recbole_ext.lambda_opt.lambdaoptmf import _check_memory
from recbole_ext.lambda_opt.pairwise import PairwiseModel
from recbole_ext.runs.checkpoint import load_checkpoint
from tests.worlds.helpers import SHORT, Run, small_world


@pytest.mark.parametrize("settings", [{}, {"learner": "sgd", "learning_rate": 0.5}])
def test_the_gradient_in_a_real_training_is_its_finite_difference(
    world: dict[str, Any], settings: dict[str, Any]
) -> None:
    held = {"lambda_learner": "sgd", "lambda_learning_rate": 1e-30, "lambda_epochs": 0}
    exact = {"lambda_horizon": 0, "lambda_loss": "plain", "lambda_warmup_steps": 0}
    steps = {"train_batch_size": 6, "epochs": 4, "eval_step": 0}  # 20 users: 16 steps

    def trained(**moved: float) -> Any:
        run = Run("LambdaOptMF", **{**world, **held, **exact, **steps, **settings})
        for part in (run.model, run.trainer.lambda_network, run.trainer.forward_gradient):
            part.double()
        weights = run.trainer.lambda_network.weights
        before = run.trainer.lambda_network.begin

        def begin(strength: float) -> None:
            before(0.3)
            for name, value in moved.items():
                weights[name].data += value

        run.trainer.lambda_network.begin = begin
        return run.fit().trainer

    trainer, step = trained(), 1e-4
    assert trainer._batch == 16
    for name, weight in trainer.lambda_network.weights.items():
        ends = [trained(**{name: s})._lambda_losses[-1] for s in (step, -step)]
        assert weight.grad.item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def test_fixed_and_frequency_are_points_of_the_power_law(world: dict[str, Any]) -> None:
    given = {"reg_weight": 2.0, "item_reg_weight": 3.0}
    fixed = Run("LambdaOptMF", **world, regularizer="fixed", **given).fit().trainer.lambda_network
    assert fixed.whole("user").unique().tolist() == [pytest.approx(2.0)]
    law = {"regularizer": "frequency", "frequency_exponent": 0.5, "item_frequency_exponent": 1.0}
    run = Run("LambdaOptMF", **world, **law, **given).fit()
    counts = run.trainer.run_state.training_counts[1].clamp(min=1).double()
    expected = 3.0 * counts / counts[1:].mean()
    torch.testing.assert_close(run.trainer.lambda_network.whole("item")[:, 0], expected.float())


def test_lambda_begins_below_the_edge_of_the_noise() -> None:
    counts = torch.tensor([0, 4, 14, 9]), torch.tensor([0, 12, 4])  # means of 9 and 8
    assert initial_strength(counts) == pytest.approx(0.3 * (3 + math.sqrt(8)))


def test_a_lambda_that_runs_away_is_reported() -> None:
    law = PowerLaw(3, 4, (1.0, 1.0))
    law.weights["item-exponent"].data.fill_(7.0)
    with pytest.raises(ValueError, match="λ runs away: the item exponent is 7; lower lambda_learn"):
        law.clamp()


def test_the_last_fit_has_all_training_ratings_and_none_of_the_gradient(
    world: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    run = Run("LambdaOptMF", **world, **SHORT, epochs=3, state="INFO").fit()
    trainer = run.trainer
    assert sorted(trainer.train_loss_dict) == [0, 1, 2, 3, 4]
    points = [point["epoch"] for point in trainer.run_state.curve]
    assert points == [2, 3, 4]  # no epoch of the first stage is validated
    stages = trainer._stages
    whole, first = (loader.interactions.counts.sum() for loader in (stages.whole, stages.first))
    assert whole == len(run.data[0]._dataset) > first
    saved = load_checkpoint(trainer.saved_model_file)
    assert set(saved["modules"]) == {"lambda_network"}


@pytest.mark.parametrize(
    "settings",
    [
        {"learner": "sgd", "learning_rate": 0.5},
        {"weight_decay": 0.01, "enable_amp": True, "worker": 1},
        {"eval_args": {"mode": "uni5"}, "lambda_source": "split"},
        {"eval_args": {"split": {"LS": "valid_and_test"}}, "lambda_loss": "calibrated"},
    ],
)
def test_recboles_options_work(world: dict[str, Any], settings: dict[str, Any]) -> None:
    run = Run("LambdaOptMF", **{**world, **SHORT, **settings}).fit()
    begin = initial_strength(run.trainer.run_state.training_counts)
    for side in ("user", "item"):
        assert run.trainer.lambda_network.whole(side).mean() != pytest.approx(begin, rel=1e-5)
    assert 0 <= run.test()["ndcg@10"] <= 1


def test_a_user_with_all_items_is_named_by_recbole(write_dataset: Callable[..., str]) -> None:
    path = write_dataset([*small_world(), *(("all", item) for item in range(16))])
    data = {"dataset": "world", "data_path": path, "load_col": {"inter": "*"}}
    with pytest.raises(ValueError, match=r"interacted with all items.*user_inter_num_interval"):
        Run("LambdaOptMF", **data)


def test_scores_that_do_not_fit_into_memory_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"about 16.4 GB for the scores .* train_batch_size: 62 or"
    ):
        _check_memory(256, 2_000_000)


def test_the_temperature_of_pairs_is_their_best_scale() -> None:
    margins = torch.randn(50, dtype=torch.double) + 0.7
    best = Temperature().follow(bpr_derivatives(margins), steps=50).item()
    losses = [-F.logsigmoid(margins * best * s).mean() for s in (0.99, 1.0, 1.01)]
    assert losses[1] < min(losses[0], losses[2])


def test_both_calibrated_gradients_of_pairs_agree(world: dict[str, Any]) -> None:
    run = Run(**world).fit()
    run.model.double()
    trainer = run.trainer
    pairs = trainer._lambda_data.draw(20)
    found = []
    for kind in (FactorisationGradients, AutogradGradients):
        loss, gradients = kind(PairwiseModel(run.model)).ranking(pairs, Temperature())[:2]
        found.append((loss, gradients))
    torch.testing.assert_close(found[0], found[1])
