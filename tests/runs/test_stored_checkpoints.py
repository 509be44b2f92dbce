"""A checkpoint of version 0.1 loads, recommends and resumes with the figures it had then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from recbole.utils import get_trainer

from recbole_ext import load_data_and_model, run_recbole
from recbole_ext.runs.checkpoint import last_file, load_checkpoint
from recbole_ext.tools.new_users import load
from tests.worlds.cold_world import noisy, write_cold_world

STORED = Path(__file__).parent / "stored"
FIGURES = json.loads((STORED / "figures.json").read_text(encoding="utf-8"))
SETTINGS: dict[str, dict[str, Any]] = {
    "LambdaOptMF": {
        "loss": "bpr",
        "train_batch_size": 64,
        "lambda_update_interval": 2,
        "lambda_learning_rate": 0.01,
        "learning_rate": 0.003,
        "frequency_groups": 2,
    },
    "MeLU": {"combination": "none"},
    "MAMO": {"combination": "none"},
    "ResNetMF": {"hidden_size": 4, "train_batch_size": 64, "learning_rate": 0.01},
}
OF_TASKS = (
    *("scenario_field", "task_ratings", "query_size"),
    *("factor_size", "factorized_start", "mlp_hidden_size"),
)
COMMON = {"embedding_size": 4, "seed": 7, "eval_step": 1, "stopping_step": 100, "epochs": 6}
# Another processor may round the last bits otherwise.
NEARLY = {"rel": 1e-4, "abs": 1e-4}

pytestmark = pytest.mark.parametrize("model", SETTINGS)


@pytest.fixture
def world() -> dict[str, Any]:
    """The data that the files were trained on, where their settings look for it: ``data/cold``."""
    settings = write_cold_world(Path("data"), noisy)
    for name in STORED.glob("*.pth"):
        Path("saved").mkdir(exist_ok=True)
        shutil.copy(name, "saved")
    return settings


def test_it_loads_with_the_same_test(model: str, world: dict[str, Any]) -> None:
    config, trained, _, _, _, test = load_data_and_model(f"saved/{model}.pth")
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, trained)
    found = trainer.evaluate(test, load_best_model=False)
    assert dict(found) == pytest.approx(FIGURES[model]["loaded_test"], **NEARLY)


def test_it_recommends_the_same(model: str, world: dict[str, Any]) -> None:
    users = pd.DataFrame({"user_id": ["new"], "job": ["1"], "age": ["0.5"]})
    items = {"item_id": ["i1", "i2", "i3"], "rating": [5, 1, 4]}
    ratings = pd.DataFrame({"user_id": ["new"] * 3, **items})
    recommender = load(f"saved/{model}.pth")
    by = "rating" if recommender.rates else "likely"
    found = recommender.recommend(users, ratings, topk=5, by=by).table
    expected = pd.DataFrame(FIGURES[model]["recommended"])
    assert list(found["item_id"]) == list(expected["item_id"])
    assert list(found["score"]) == pytest.approx(list(expected["score"]), **NEARLY)


def test_it_resumes_to_the_same_weights(model: str, world: dict[str, Any]) -> None:
    own = {key: world[key] for key in OF_TASKS} if model in ("MeLU", "MAMO") else {}
    given = {**COMMON, **SETTINGS[model], **own, "dataset": "cold", "data_path": "data"}
    quiet = {"show_progress": False, "state": "ERROR"}
    resumed = run_recbole(
        model, config_dict={**given, **quiet, "resume_file": f"saved/{model}-last.pth"}
    )
    expected = FIGURES[model]
    assert [point["epoch"] for point in resumed["curve"]] == [3, 4, 5]
    losses = [point["train_loss"] for point in resumed["curve"]]
    assert losses == pytest.approx(expected["train_losses"], **NEARLY)
    assert resumed["best_valid_score"] == pytest.approx(expected["resumed_valid_score"], **NEARLY)
    assert dict(resumed["test_result"]) == pytest.approx(expected["resumed_test"], **NEARLY)
    end = load_checkpoint(last_file(resumed["checkpoint"]), "cpu")
    tensors = dict(end["state_dict"])
    for name, part in end["modules"].items():  # λ, and what its gradient carries along
        tensors |= {f"{name}.{key}": value for key, value in part.items()}
    sums = {key: float(value.double().abs().sum()) for key, value in tensors.items()}
    assert sums == pytest.approx(expected["sums"], **NEARLY)
