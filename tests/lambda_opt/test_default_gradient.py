"""LambdaOptMF with ``loss: bpr``: the gradient through the whole training, λ from a split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import recbole_ext
from tests.worlds.helpers import LOOKAHEAD, QUICK, Run, small_world

DEFAULT: dict[str, Any] = {"lambda_learning_rate": 0.01, "lambda_update_interval": 2}
DUI = {**LOOKAHEAD, "lambda_granularity": "dimension+user+item"}


@pytest.mark.parametrize("how", [DEFAULT, DUI], ids=["default", "one step"])
@pytest.mark.parametrize(
    "settings",
    [
        {"eval_args": {"mode": "uni5"}},
        {"eval_args": {"mode": "pop5"}, "lambda_source": "valid"},
        {"eval_args": {"split": {"LS": "valid_and_test"}}},
        {"eval_args": {"split": {"LS": "test_only"}}, "lambda_source": "holdout"},
        {"train_neg_sample_args": {"distribution": "uniform", "dynamic": True, "candidate_num": 2}},
        {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 3}},
        {"weight_decay": 0.01, "enable_amp": True, "worker": 1},
    ],
)
def test_recboles_options_work(
    world: dict[str, Any], how: dict[str, Any], settings: dict[str, Any]
) -> None:
    run = Run(**{**world, **how, "lambda_initial": 0.1, **settings}).fit()
    assert all((table != 0.1).any() for table in run.strengths().values())
    assert 0 <= run.test()["ndcg@10"] <= 1


def test_a_split_without_a_test_part_ends_normally(world: dict[str, Any]) -> None:
    split = {"eval_args": {"split": {"LS": "valid_only"}}}
    result = recbole_ext.run_recbole("LambdaOptMF", config_dict={**world, **QUICK, **split})
    assert result["test_result"] is None
    assert "frequency_groups" not in result


def test_no_validation_set_is_refused_with_what_to_do(world: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match=r"lambda_source: split needs .*use lambda_source: holdout"
    ):
        Run(**world).fit(valid=False)


def strength(write_dataset: Callable[..., str], noisy: int) -> float:
    """λ of all users after 40 epochs in a world of tasteful users and some who pick at random."""
    generator = torch.Generator().manual_seed(0)
    pairs: list[tuple[object, object]] = small_world(30, 40, "t")
    for u in range(noisy):
        pairs += [(f"r{u}", i) for i in torch.randperm(40, generator=generator)[:20].tolist()]
    run = Run(
        dataset="world",
        data_path=write_dataset(pairs),
        load_col={"inter": "*"},
        embedding_size=16,
        train_batch_size=128,
        learning_rate=0.01,
        lambda_learning_rate=1e-3,
        lambda_update_interval=1,
        epochs=40,
        eval_step=0,
    )
    run.fit()
    return run.strengths()["user"].item()


def test_lambda_is_larger_where_ratings_are_noise(write_dataset: Callable[..., str]) -> None:
    clean, noisy = strength(write_dataset, 0), strength(write_dataset, 30)
    assert noisy > 0.01
    assert noisy > 3 * clean


@pytest.mark.parametrize("granularity", ["global-user", "double-global"])
@pytest.mark.parametrize(
    "settings",
    [{"learner": "sgd", "learning_rate": 0.5}, {}, {"weight_decay": 0.01}],
    ids=["sgd", "adam", "weight decay"],
)
def test_lambdas_gradient_in_a_real_training_is_its_finite_difference(
    world: dict[str, Any], granularity: str, settings: dict[str, Any]
) -> None:
    """Of the loss of the last λ batch, in float64, with λ held where it begins."""

    def trained(**strengths: float) -> Any:
        held = {"lambda_learner": "sgd", "lambda_learning_rate": 1e-30}
        how = {"lambda_update_interval": 1, "lambda_granularity": granularity, "epochs": 3}
        run = Run(**{**world, **held, **how, "eval_step": 0, **settings})
        for part in (run.model, run.trainer.lambda_network, run.trainer.forward_gradient):
            part.double()
        for name, table in run.trainer.lambda_network.tables.items():
            table.data.fill_(strengths.get(name, 0.05))
        return run.fit(valid=True).trainer

    trainer, step = trained(), 1e-4
    for name, table in trainer.lambda_network.tables.items():
        ends = [trained(**{name: 0.05 + s})._lambda_losses[-1] for s in (step, -step)]
        assert table.grad.item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_a_diverging_gradient_is_reported(world: dict[str, Any]) -> None:
    run = Run(**world, lambda_update_interval=1)
    for tangent in run.trainer.forward_gradient.buffers():
        tangent.fill_(float("inf"))
    with pytest.raises(ValueError, match=r"gradient of λ is \w+ in batch 0: lower learning_rate"):
        run.fit()
