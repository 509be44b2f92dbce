from __future__ import annotations

import logging
from pathlib import Path

import pytest
import recbole.data.dataset
import recbole.trainer
from recbole.config import Config
from recbole.model.general_recommender import BPR
from recbole.utils import ModelType, get_model, get_trainer

from recbole_ext import BilevelTrainer, CheckedDataset, LambdaOptMF, known_models, register_model
from recbole_ext.quick_start import checked_config
from recbole_ext.settings.yaml_files import model_names
from tests.worlds.helpers import QUICK, Run


class Mine(BPR):
    """A user's own model."""


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text("embedding_size: 8\nmy_weight: 1e-2\n")
    return file


BPR_LOSS = {"loss": "bpr"}


def test_importing_registered_our_model() -> None:
    assert get_model("LambdaOptMF") is LambdaOptMF
    assert get_trainer(ModelType.GENERAL, "LambdaOptMF") is BilevelTrainer
    assert recbole.data.dataset.LambdaOptMFDataset is CheckedDataset
    assert Config("LambdaOptMF", "ml-100k")["lambda_learning_rate"] == 0.01
    assert Config("LambdaOptMF", "ml-100k", config_dict={"loss": "bpr"})["lambda_epochs"] == 0


def test_a_users_model_trains_by_its_name(yaml: Path) -> None:
    assert register_model(Mine, properties=yaml) is Mine
    run = Run("Mine", my_weight=0.5).fit()
    assert run.config["embedding_size"] == 8
    assert run.config["my_weight"] == 0.5
    assert type(run.model) is Mine
    assert type(run.trainer) is recbole.trainer.Trainer
    assert "Mine" in known_models()


def test_a_users_model_knows_what_the_models_it_extends_know(tmp_path: Path) -> None:
    yaml, second = tmp_path / "mine.yaml", tmp_path / "second.yaml"
    yaml.write_text("my_weight: 1e-2\n")
    second.write_text("dropout_prob: 0.5\n")
    register_model(Mine, properties=yaml)
    register_model(type("Second", (Mine,), {}), properties=second)
    config = Config("Second", "ml-100k")
    assert (config["embedding_size"], config["my_weight"]) == (64, 0.01)
    assert Run("Second", embedding_size=8, my_weight=1.0).model.embedding_size == 8
    shorter = type("Shorter", (LambdaOptMF,), {})
    register_model(shorter, properties=yaml, trainer=BilevelTrainer)
    assert Config("Shorter", "ml-100k")["lambda_granularity"] == "power-law"
    bpr = Config("Shorter", "ml-100k", config_dict={"loss": "bpr"})
    assert bpr["lambda_granularity"] == "global-user"
    with pytest.raises(ValueError, match="Mine knows no hyper-parameter 'my_weigth'"):
        Run("Mine", my_weigth=0.1)


def test_registering_again_replaces(yaml: Path) -> None:
    register_model(Mine, properties=yaml, trainer=BilevelTrainer)
    again = type("Mine", (BPR,), {})
    register_model(again, properties=yaml)
    assert get_model("Mine") is again
    assert get_trainer(ModelType.GENERAL, "Mine") is recbole.trainer.Trainer


def test_names_of_recbole_are_refused(yaml: Path) -> None:
    for name in ("BPR", "bpr", "LightSANs"):
        with pytest.raises(ValueError, match=f"RecBole has a model '{name}' already"):
            register_model(type(name, (BPR,), {}), properties=yaml)
    assert get_model("BPR") is BPR


def test_a_missing_yaml_is_refused() -> None:
    nowhere = type("Nowhere", (BPR,), {})
    with pytest.raises(FileNotFoundError, match=r"model 'Nowhere': .*Nowhere\.yaml does not exist"):
        register_model(nowhere)
    with pytest.raises(ValueError, match="no model 'Nowhere'"):
        Config("Nowhere", "ml-100k")


def test_recboles_models_are_known_without_importing_them() -> None:
    names = model_names()
    assert {"BPR", "LightGCN", "LightSANs", "xDeepFM", "KGAT", "LightGBM"} <= names
    assert len(names) > 90


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("LambdaOptMf", "Did you mean LambdaOptMF"),
        ("lightsans", "Did you mean LightSANs"),
        ("LightGNC", "LightGCN"),
        ("Qqqqqq", r"no model 'Qqqqqq'\.$"),
    ],
)
def test_a_wrong_model_name_offers_the_nearest(wrong: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        Config(wrong, "ml-100k")


def test_an_unknown_hyperparameter_of_ours_is_refused(tmp_path: Path) -> None:
    expected = (
        "LambdaOptMF knows no hyper-parameter 'lamda_granularity'. Did you mean lambda_granularity"
    )
    with pytest.raises(ValueError, match=expected):
        Config("LambdaOptMF", "ml-100k", config_dict={"lamda_granularity": "user"})
    file = tmp_path / "typo.yaml"
    file.write_text("embeding_size: 8\n")
    with pytest.raises(ValueError, match=r"'embeding_size'\. Did you mean embedding_size"):
        Config("LambdaOptMF", "ml-100k", config_file_list=[str(file)])


def test_an_unknown_hyperparameter_of_recboles_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        Config("BPR", "ml-100k", config_dict={"embeding_size": 8})
    assert (
        "BPR knows no hyper-parameter 'embeding_size'. Did you mean embedding_size" in caplog.text
    )


def test_an_option_of_somebody_elses_script_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", ["pytest", "--cov=package"])
    with caplog.at_level(logging.WARNING):
        Config("LambdaOptMF", "ml-100k", config_dict=dict(QUICK))
    assert "'cov'" in caplog.text


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "LightSANs", "NeuMF", "DeepFM", "KGAT"])
def test_recboles_own_settings_give_no_warning(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {**QUICK, "train_neg_sample_args": None} if model == "LightSANs" else dict(QUICK)
    with caplog.at_level(logging.WARNING):
        Config(model, "ml-100k", config_dict=settings)
    assert "knows no hyper-parameter" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding_size": 0}, "embedding_size must be a whole number of at least 1, got 0"),
        ({"embedding_size": 1.5}, "embedding_size must be a whole number of at least 1, got 1.5"),
        ({"reg_weight": -0.1}, "reg_weight must be a number of at least 0, got -0.1"),
        ({"reg_weight": "much"}, "reg_weight must be a number of at least 0, got 'much'"),
        ({"reg_weight": float("nan")}, "reg_weight must be a number of at least 0, got nan"),
        ({"lambda_learning_rate": 0}, "lambda_learning_rate must be a number above 0, got 0"),
        ({"lambda_learning_rate": True}, "lambda_learning_rate must be a number above 0, got True"),
        ({"lambda_clip_norm": "x"}, "lambda_clip_norm must be a number above 0, got 'x'"),
        (
            {"lambda_holdout_ratio": 1.0},
            "lambda_holdout_ratio must be a number above 0 and below 1, got 1.0",
        ),
        ({"lookahead_steps": 0}, "lookahead_steps must be a whole number of at least 1, got 0"),
        ({"lookahead_steps": 2}, "lookahead_steps: 2 needs meta_gradient: higher"),
        ({"learner": "adamw"}, "learner must be one of adam, sgd, sparse_adam; got 'adamw'"),
        ({"learning_rate": "abc"}, "learning_rate must be a number above 0, got 'abc'"),
        ({"weight_decay": -1}, "weight_decay must be a number of at least 0, got -1"),
        (
            {"regularizer": "l1"},
            "regularizer must be one of lambda_opt, .*; got 'l1'",
        ),
        ({"clip_grad_norm": {"max_norm": 1}}, "clip_grad_norm must be empty with regularizer"),
        (
            {**BPR_LOSS, "meta_gradient": "higher", "learner": "sparse_adam"},
            "meta_gradient: higher needs learner: adam or sgd, got 'sparse_adam'",
        ),
        ({"lambda_initial": -1}, "lambda_initial must be a number of at least 0, got -1"),
        (
            {"lambda_split_ratio": 1},
            "lambda_split_ratio must be a number above 0 and below 1, got 1",
        ),
        ({"lambda_warmup_steps": 0.5}, "lambda_warmup_steps must be a whole number of at least 0"),
        ({"frequency_exponent": "x"}, "frequency_exponent must be a number, got 'x'"),
        (
            {**BPR_LOSS, "regularizer": "frequency"},
            "frequency_exponent must not be 0 with regularizer: freq",
        ),
        (
            {**BPR_LOSS, "lambda_granularity": "user"},
            "forward needs lambda_granularity to be one of power-law, global, double-global, "
            "global-user, got",
        ),
        (
            {**BPR_LOSS, "learner": "sparse_adam"},
            "forward needs learner: adam or sgd, got 'sparse_adam'",
        ),
        (
            {**BPR_LOSS, "lambda_learner": "sparse_adam"},
            "forward needs lambda_learner: adam or sgd",
        ),
        ({"preset": "papers"}, "LambdaOptMF has no preset 'papers'; it has one-step, paper"),
        (
            {"lambda_granularity": "users"},
            "lambda_granularity must be one of power-law, global, double-global, global-user, "
            "dimension, double-dimension, user, item, "
            r"user\+item, dimension\+user, dimension\+item, dimension\+user\+item; got 'users'",
        ),
    ],
)
def test_values_out_of_range_are_refused_before_data_is_loaded(
    settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Config("LambdaOptMF", "no-such-dataset", config_dict={**QUICK, **settings})


def test_a_pairwise_model_needs_negatives_when_it_trains() -> None:
    run = Run("BPR", train_neg_sample_args=None)
    with pytest.raises(ValueError, match="train_neg_sample_args must name a distribution"):
        run.fit()


@pytest.mark.parametrize("model", ["LightGBM", "XGBoost"])
def test_a_yaml_in_lower_case_is_found(model: str) -> None:
    pytest.importorskip(model.lower())
    key = {"LightGBM": "lgb_num_boost_round", "XGBoost": "xgb_num_boost_round"}[model]
    assert Config(model, "ml-100k")[key] > 0


def test_none_in_a_yaml_is_a_text(tmp_path: Path) -> None:
    yaml = tmp_path / "mine.yaml"
    yaml.write_text("user_inter_num_interval: None\n")
    with pytest.raises(ValueError, match="got 'None': in a yaml None is a text"):
        checked_config("BPR", "ml-100k", [str(yaml)], {})


@pytest.mark.parametrize("metric", ["MRR@20", "Foo@10"])
def test_what_selects_the_epoch_must_be_computed_when_a_model_trains(metric: str) -> None:
    run = Run("BPR", valid_metric=metric, embedding_size=4)
    run.fit(valid=False)
    with pytest.raises(ValueError, match=rf"valid_metric: {metric} is not computed: .*\[10\]"):
        run.fit()


def test_a_model_given_as_a_class_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    class Unregistered(BPR):
        pass

    with caplog.at_level(logging.WARNING):
        Config(Unregistered, "ml-100k", config_dict={"embedding_size": 8, "own_weight": 1})
    assert "own_weight" not in caplog.text


def test_a_preset_is_a_default_that_the_user_overrides() -> None:
    config = Config("LambdaOptMF", "ml-100k", config_dict={"preset": "paper", "epochs": 7})
    assert config["lambda_granularity"] == "dimension+user+item"
    assert config["lambda_source"] == "valid"
    assert config["eval_args"]["split"] == {"RS": [0.6, 0.2, 0.2]}
    assert config["eval_args"]["mode"] == {"valid": "full", "test": "full"}
    assert config["epochs"] == 7
    own = {"preset": "paper", "embedding_size": 8}
    assert Config("LambdaOptMF", "ml-100k", config_dict=own)["embedding_size"] == 8
    with pytest.raises(ValueError, match="BPR has no preset 'paper'; it has none"):
        Config("BPR", "ml-100k", config_dict={"preset": "paper"})
