"""ResNetMF against a forward pass by hand and in a world whose answer is known; its input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction

from recbole_ext import run_recbole
from recbole_ext.resnetmf.towers import NETS, tower
from tests.contracts.models import ModelContract
from tests.worlds.helpers import QUICK, Run, same
from tests.worlds.rated_world import write_ratings

Array = NDArray[np.float64]


@pytest.fixture
def rated(tmp_path: Path) -> dict[str, Any]:
    return write_ratings(tmp_path, lambda user, item: 1 + (user * 7 + item * 3) % 5)


class RatingContract(ModelContract):
    """The contract of a model of ratings, in a world of ratings."""

    model = "ResNetMF"

    @pytest.fixture
    def given(self, rated: dict[str, Any]) -> dict[str, Any]:
        return {**rated, **self.settings}

    def as_predicted(self, model: Any, scores: torch.Tensor) -> torch.Tensor:
        return scores.clamp(*model.rating_range)


class TestResNet(RatingContract):
    """The default: residual towers."""

    known = {"rmse": 1.3633}


class TestMLP(RatingContract):
    """Towers of one dense layer."""

    settings = {"net": "mlp"}
    known = {"rmse": 1.3546}


class TestLinear(RatingContract):
    """No towers: a matrix factorisation with biases."""

    settings = {"net": "linear"}
    known = {"rmse": 1.338}


def dense(inputs: Array, layer: torch.nn.Linear) -> Array:
    return inputs @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def by_hand(net: str, module: Any, inputs: Array) -> Array:
    if net == "linear":
        return inputs
    if net == "mlp":
        return dense(np.maximum(inputs, 0), module.dense)
    for block in (module[0], module[2]):
        hidden = np.maximum(dense(inputs, block.first), 0)
        inputs = inputs + dense(hidden, block.second)
    return inputs


@pytest.mark.parametrize("net", NETS)
def test_towers_are_those_written_out_by_hand(net: str) -> None:
    torch.manual_seed(0)
    module = tower(net, 6, 9, dropout=0.5).double().eval()
    inputs = torch.randn(4, 6, dtype=torch.double)
    wanted = by_hand(net, module, inputs.numpy())
    np.testing.assert_allclose(module(inputs).detach().numpy(), wanted, rtol=1e-12)
    assert wanted.shape == (4, 9 if net == "mlp" else 6)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("biases", [True, False])
def test_ratings_are_inner_products_of_towers_plus_mean_and_biases(
    net: str, biases: bool, rated: dict[str, Any]
) -> None:
    run = Run("ResNetMF", **rated, net=net, biases=biases, clip_predictions=False).fit()
    model = run.model.double().eval()
    rows = run.data[2]._dataset.inter_feat
    users, items = rows["user_id"], rows["item_id"]
    p, q = (x.weight.detach().numpy() for x in (model.user_embedding, model.item_embedding))
    left = by_hand(net, model.user_tower, p[users])
    right = by_hand(net, model.item_tower, q[items])
    wanted = (left * right).sum(-1)
    if biases:
        ratings = run.data[0]._dataset.inter_feat["rating"]
        assert model.mean.item() == pytest.approx(ratings.mean().item(), rel=1e-6)
        wanted += model.mean.item() + model.user_bias.detach().numpy()[users]
        wanted += model.item_bias.detach().numpy()[items]
    with torch.no_grad():
        np.testing.assert_allclose(model.predict(rows).numpy(), wanted, rtol=1e-10)
        every = model.full_sort_predict(rows).view(len(rows), -1)
    np.testing.assert_allclose(every[torch.arange(len(rows)), items].numpy(), wanted, rtol=1e-10)


def test_dropout_is_for_training_only(rated: dict[str, Any]) -> None:
    run = Run("ResNetMF", **rated)
    rows = run.data[2]._dataset.inter_feat
    once, twice = (run.model.train().forward(rows["user_id"], rows["item_id"]) for _ in range(2))
    assert not torch.equal(once, twice)
    once, twice = (run.model.eval().forward(rows["user_id"], rows["item_id"]) for _ in range(2))
    assert torch.equal(once, twice)


def test_predictions_keep_within_the_training_ratings_if_asked_to(rated: dict[str, Any]) -> None:
    rows = Interaction({"user_id": torch.tensor([1, 2]), "item_id": torch.tensor([1, 2])})
    for clip, wanted in ((True, [5.0, 1.0]), (False, [103.0, -97.0])):
        model = Run("ResNetMF", **rated, net="linear", clip_predictions=clip).model.eval()
        with torch.no_grad():
            model.mean.fill_(3.0)
            model.user_embedding.weight.zero_()
            model.user_bias[1], model.user_bias[2] = 100.0, -100.0
            assert model.predict(rows).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("net", "size", "hidden"), [("linear", 8, 1), ("mlp", 32, 2), ("resnet", 8, 16)]
)
def test_a_matrix_of_rank_one_is_recovered(
    net: str, size: int, hidden: int, tmp_path: Path
) -> None:
    a, b = np.linspace(1, 2, 40), np.linspace(0.6, 2.4, 30)
    world = write_ratings(tmp_path, lambda user, item: a[user] * b[item])
    settings = {
        "net": net,
        "embedding_size": size,
        "hidden_size": hidden,
        "dropout_prob": 0.0,
        "weight_decay": 0.0,
        "learning_rate": 0.01,
        "epochs": 200,
        "stopping_step": 30,
        "biases": False,
    }
    assert Run("ResNetMF", **{**world, **settings}).fit().test()["rmse"] < 0.05


def test_a_run_needs_no_settings_and_gives_the_same_again(rated: dict[str, Any]) -> None:
    first, second = (run_recbole("ResNetMF", None, None, {**QUICK, **rated}) for _ in range(2))
    assert first["test_result"] == second["test_result"]
    assert set(first["test_result"]) == {"rmse", "mae"}
    assert not first["valid_score_bigger"]


@pytest.mark.parametrize("learner", ["sgd", "adagrad", "rmsprop"])
def test_any_learner_trains_it(learner: str, rated: dict[str, Any]) -> None:
    run = Run("ResNetMF", **rated, learner=learner)
    before = run.state()
    assert not same(run.fit().state(), before)


def test_all_items_are_ranked_for_ranking_metrics(rated: dict[str, Any]) -> None:
    settings = {**QUICK, **rated, "metrics": ["Recall", "NDCG"], "topk": [5]}
    result = run_recbole("ResNetMF", None, None, settings)
    assert set(result["test_result"]) == {"recall@5", "ndcg@5"}
    assert result["valid_score_bigger"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"net": "cnn"}, "net must be one of linear, mlp, resnet; got 'cnn'"),
        ({"dropout_prob": 1.0}, "dropout_prob must be a number of at least 0 and below 1, got 1"),
        ({"dropout_prob": -0.1}, "dropout_prob must be a number of .* below 1, got -0.1"),
        ({"embedding_size": 0}, "embedding_size must be a whole number of at least 1, got 0"),
        ({"hidden_size": 0}, "hidden_size must be a whole number of at least 1, got 0"),
        ({"biases": "yes"}, "biases must be True or False, got 'yes'"),
        ({"metrics": ["RMSE", "Recall"]}, "metrics must be all of rankings or all of ratings, got"),
    ],
)
def test_a_value_out_of_range_is_named_before_any_data_is_loaded(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message):
        run_recbole("ResNetMF", "no-such-data", None, settings)


def test_the_columns_follow_the_names_of_the_fields(rated: dict[str, Any]) -> None:
    file = Path(rated["data_path"]) / "rated" / "rated.inter"
    file.write_text(file.read_text().replace("rating:float", "stars:float"))
    assert Run("ResNetMF", **rated, RATING_FIELD="stars").fit().test()["rmse"] > 0


def test_ratings_that_are_not_loaded_are_named(rated: dict[str, Any]) -> None:
    columns = {"inter": ["user_id", "item_id"]}
    with pytest.raises(ValueError, match=r"rated.inter: no column rating among the loaded ones"):
        Run("ResNetMF", **rated, load_col=columns)
    file = Path(rated["data_path"]) / "rated" / "rated.inter"
    file.write_text(file.read_text() + "u1\ti99\t\n")
    with pytest.raises(ValueError, match="rating is NaN in 1 rows"):
        Run("ResNetMF", **rated)
