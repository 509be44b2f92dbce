"""λ on RecBole's own pairwise models, by ``regularizer: lambda_opt`` and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer

import recbole_ext
from recbole_ext.lambda_opt.gradient.bpr import Triples
from recbole_ext.lambda_opt.gradient.derivatives import (
    AutogradGradients,
    FactorisationGradients,
    gradients_of,
)
from recbole_ext.lambda_opt.gradient.lookahead import LookaheadGradient
from recbole_ext.lambda_opt.gradient.symmetric_matrix import fast_symmetric
from recbole_ext.lambda_opt.gradient.unrolled import unrolled_hypergradient
from recbole_ext.lambda_opt.pairwise import PairwiseModel
from recbole_ext.lambda_opt.trainer import BilevelTrainer
from tests.worlds.helpers import QUICK, Run, same

LEARN = {
    "regularizer": "lambda_opt",
    "lambda_granularity": "dimension+user+item",
    "meta_gradient": "analytic",
    "lambda_learning_rate": 1e-3,
    "frequency_exponent": -0.5,
}
FORWARD = {
    "regularizer": "lambda_opt",
    "lambda_granularity": "double-global",
    "frequency_exponent": -0.5,
}


def doubled(run: Run) -> Run:
    """The same run in float64."""
    run.model.double()
    run.trainer.lambda_network.double()
    for side in ("user", "item"):
        rows = getattr(run.model, f"{side}_embedding").num_embeddings
        run.trainer.lambda_network.scale(side, torch.linspace(0.5, 2, rows))
    if run.trainer.forward_gradient is not None:
        run.trainer.forward_gradient.double()
    if hasattr(run.model, "norm_adj_matrix"):
        run.model.norm_adj_matrix = fast_symmetric(run.model.norm_adj_matrix.double())
    return run


@pytest.mark.parametrize("model", ["LightGCN", "BPR", "NGCF"])
@pytest.mark.parametrize("penalty", ["batch", "expected", "table"])
@pytest.mark.parametrize("learner", ["adam", "sgd"])
def test_both_gradients_agree_on_any_model(
    world: dict[str, Any], model: str, penalty: str, learner: str
) -> None:
    """Closed form = ``higher``, which differentiates the whole model twice."""
    dropout = {"node_dropout": 0.0, "message_dropout": 0.0} if model == "NGCF" else {}
    settings = {**world, **LEARN, **dropout, "lookahead_penalty": penalty, "learner": learner}
    run = doubled(Run(model, **settings))
    trainer, generator = run.trainer, torch.Generator().manual_seed(0)
    for table in trainer.lambda_network.parameters():
        table.data.uniform_(0.01, 0.5, generator=generator)
    trainer._set_up_lambda(*run.data[:2])
    sampler = trainer._lookahead.train_sampler
    for _ in range(2):  # gives Adam a past
        batch = sampler.draw(40)
        trainer.optimizer.zero_grad()
        trainer._lookahead.model.fit_loss({}, batch).backward()
        trainer.optimizer.step()
    train, valid = sampler.draw(40), trainer._lambda_data.draw(40)
    found = {}
    for kind in ("analytic", "higher"):
        settings = type(trainer.settings)(**{**vars(trainer.settings), "meta_gradient": kind})
        parts = run.model, trainer.lambda_network, trainer.optimizer, sampler
        trainer.lambda_network.zero_grad()
        gradient = LookaheadGradient(settings, *parts)
        gradient.begin(train)
        loss = gradient.add(valid)
        tables = trainer.lambda_network.tables.items()
        found[kind] = {"loss": loss, **{name: table.grad.to_dense() for name, table in tables}}
    assert found["analytic"]["user"].abs().sum() > 0
    for name, gradient in found["analytic"].items():
        atol = 1e-8 * gradient.abs().max().item()
        torch.testing.assert_close(gradient, found["higher"][name], rtol=1e-8, atol=atol)


@pytest.mark.parametrize("model", ["LightGCN", "BPR", "NGCF"])
@pytest.mark.parametrize("learner", ["adam", "sgd"])
def test_the_forward_gradient_is_the_unrolled_training_on_any_model(
    world: dict[str, Any], model: str, learner: str
) -> None:
    """Six real steps, differentiated along the way and by ``higher`` in reverse."""
    dropout = {"node_dropout": 0.0, "message_dropout": 0.0} if model == "NGCF" else {}
    exact = {"lambda_update_interval": 1, "lambda_initial": 0.05, "lookahead_penalty": "batch"}
    run = doubled(Run(model, **{**world, **FORWARD, **dropout, **exact, "learner": learner}))
    trainer = run.trainer
    trainer._set_up_lambda(*run.data[:2])
    sampler = trainer._lambda_data
    batches, valid = [sampler.draw(30) for _ in range(6)], sampler.draw(30)
    strengths = trainer.lambda_network.tables
    settings = type(trainer.settings)(**{**vars(trainer.settings), "meta_gradient": "higher"})
    parts = run.model, trainer.lambda_network, trainer.optimizer, sampler
    unrolled = LookaheadGradient(settings, *parts)

    def fit_loss(parameters: dict[str, torch.Tensor], batch: Triples) -> torch.Tensor:
        return unrolled.model.fit_loss(parameters, batch) + unrolled._penalty(parameters, batch)

    trainer.lambda_network.zero_grad()
    unrolled_hypergradient(
        unrolled.model,
        trainer.optimizer,
        batches,
        valid,
        fit_loss,
        unrolled.model.ranking_loss,
        list(trainer.lambda_network.parameters()),
    )
    expected = {name: table.grad.clone() for name, table in strengths.items()}
    for batch in batches:
        trainer.gradient.begin(batch, None)
        trainer.gradient.end()
        trainer.optimizer.zero_grad()
        read, network = trainer.objective.read(batch), trainer.lambda_network
        keys = run.model.USER_ID, run.model.ITEM_ID, run.model.NEG_ITEM_ID
        given = Interaction(dict(zip(keys, batch, strict=True)))
        trainer.objective.loss(given, batch, read, network).backward()
        trainer.optimizer.step()
    trainer.gradient.add(valid)
    found = {name: table.grad for name, table in strengths.items()}
    assert set(found) == {"user", "item"}
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)


def test_a_graph_network_feels_lambda_beyond_the_batch(world: dict[str, Any]) -> None:
    """In LightGCN a row that no batch reads still moves the scores of its neighbours."""
    touched = {}
    for model in ("LightGCN", "BPR"):
        run = doubled(Run(model, **world, **LEARN))
        run.trainer._set_up_lambda(*run.data[:2])
        one = run.trainer._lambda_data.draw(1)
        run.trainer.gradient.begin(run.trainer._lookahead.train_sampler.draw(1), None)
        run.trainer.gradient.add(one)
        gradient = run.trainer.lambda_network.tables["user"].grad.to_dense()
        touched[model] = int((gradient != 0).any(-1).sum())
    assert touched["BPR"] == 1
    assert touched["LightGCN"] > 5


@pytest.mark.parametrize("model", ["LightGCN", "NGCF", "SGL", "BPR"])
@pytest.mark.parametrize("how", [LEARN, {**LEARN, "meta_gradient": "higher"}, FORWARD])
def test_recboles_models_train_with_lambda(
    world: dict[str, Any], model: str, how: dict[str, str]
) -> None:
    settings = {**world, **QUICK, **how, "epochs": 3, "lambda_initial": 0.001}
    result = recbole_ext.run_recbole(model, config_dict=settings)
    saved = torch.load(result["checkpoint"])
    tables = saved["modules"]["lambda_network"]
    assert all((table > 0).any() for table in tables.values())
    _, loaded, *_ = recbole_ext.load_data_and_model(result["checkpoint"])  # RecBole's own class
    assert same(dict(loaded.state_dict()), dict(saved["state_dict"]))


@pytest.mark.parametrize("how", [LEARN, FORWARD])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    world: dict[str, Any], how: dict[str, str]
) -> None:
    settings = {**world, **how, "eval_step": 0}
    whole = Run("LightGCN", **{**settings, "epochs": 4}).fit()
    first = Run("LightGCN", **{**settings, "epochs": 2}).fit()
    file = first.trainer.saved_model_file
    second = Run("LightGCN", **{**settings, "epochs": 4, "resume_file": file}).fit()
    assert same(second.state(), whole.state())
    assert same(second.strengths(), whole.strengths())


def test_the_models_own_penalty_is_off_unless_asked_for(world: dict[str, Any]) -> None:
    assert Run("LightGCN", **world).config["reg_weight"] == 1e-5
    assert Run("LightGCN", **world, **LEARN).config["reg_weight"] == 0
    assert Run("LightGCN", **world, **LEARN, reg_weight=0.01).config["reg_weight"] == 0.01
    assert Run("LightGCN", **world, **LEARN).config["n_layers"] == 2  # RecBole's default stays


class Quartic(BPR):
    """A subclass with a loss of its own, as a user would write it."""

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        users = self.get_user_embedding(interaction[self.USER_ID])
        return super().calculate_loss(interaction) + users.pow(4).sum()


def test_a_subclass_with_a_loss_of_its_own_has_its_own_derivatives(world: dict[str, Any]) -> None:
    model = PairwiseModel(Run("BPR", **world).model)
    assert isinstance(gradients_of(model), FactorisationGradients)
    model.model.__class__ = Quartic
    assert isinstance(gradients_of(model), AutogradGradients)


def test_trainers_can_be_copied_and_written_by_users(world: dict[str, Any]) -> None:
    class Mine(Trainer):
        def __init__(self, model: Any, config: Any) -> None:
            super().__init__(config, model)

    run = Run("LightGCN", **world)
    assert type(copy.copy(run.trainer)) is Trainer
    assert type(Mine(run.model, run.config)) is Mine

    class Other(Trainer):
        pass

    learning = Run("LightGCN", **world, **LEARN)
    with pytest.raises(ValueError, match="regularizer needs BilevelTrainer or a class of it; got"):
        Other(learning.config, learning.model)


def test_the_preset_for_one_step_applies(world: dict[str, Any]) -> None:
    asked = {**world, "regularizer": "lambda_opt", "preset": "one-step"}
    run = Run("LightGCN", **asked, lambda_source="split")
    assert run.config["meta_gradient"] == "analytic"
    assert run.config["embedding_size"] == 8


def test_only_who_asks_gets_the_bilevel_trainer(world: dict[str, Any]) -> None:
    assert type(Run("LightGCN", **world).trainer) is Trainer
    assert type(Run("LightGCN", **world, **LEARN).trainer) is BilevelTrainer


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("NeuMF", {}, "regularizer: lambda_opt needs a general pairwise model; NeuMF is not one"),
        ("TransRec", {}, "needs a general pairwise model; TransRec is not one"),
        ("NCL", {}, "models without a trainer of their own; NCL has NCLTrainer"),
        ("LightGCN", {"regularizer": "fixed"}, "LightGCN takes lambda_opt, or no regularizer"),
        ("LightGCN", {"regularizer": "l1"}, "regularizer must be one of lambda_opt"),
        ("LightGCN", {"learner": "sparse_adam"}, "sparse_adam is for LambdaOptMF"),
        ("LightGCN", {"preset": "one-step"}, "lambda_source: holdout is for LambdaOptMF and BPR"),
        ("SimpleX", {}, "SimpleX has no user_embedding"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    world: dict[str, Any], model: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Run(model, **{**world, **LEARN, **settings})
