"""Small runs of RecBole's own parts, for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, get_trainer, init_seed

import recbole_ext  # noqa: F401 (registers the models)
from recbole_ext.runs.checkpoint import load_checkpoint

QUICK = {"epochs": 2, "show_progress": False, "state": "ERROR", "eval_step": 1}


# λ of the softmax loss, learnt in two epochs.
SHORT = {"lambda_epochs": 2, "lambda_steps": 0, "lambda_warmup_steps": 0}

safe_loading = pytest.mark.skipif(
    not hasattr(torch.serialization, "add_safe_globals"),
    reason="torch before 2.4 cannot be told which classes are safe",
)

# The paper's gradient, one step ahead, in place of the default's.
LOOKAHEAD = {
    "loss": "bpr",
    "meta_gradient": "analytic",
    "lambda_learner": "sparse_adam",
    "lambda_learning_rate": 1e-3,
    "lambda_update_interval": 1,
    "lambda_source": "holdout",
}

# As many λ as embeddings, quick to learn.
LAMBDA = {
    **LOOKAHEAD,
    "lambda_granularity": "dimension+user+item",
    "lambda_learning_rate": 0.01,
}


class Run:
    """A run in pieces: ``config``, ``data`` (train, valid, test), ``model``, ``trainer``.

    Without a model it is a LambdaOptMF with ``loss: bpr``, unless the settings have another loss.
    """

    def __init__(self, model: str | None = None, dataset: str = "ml-100k", **settings: Any) -> None:
        if model is None:
            model, settings = "LambdaOptMF", {"loss": "bpr", **settings}
        self.config = Config(model, dataset, config_dict={**QUICK, **settings})
        init_seed(self.config["seed"], True)
        self.data = data_preparation(self.config, create_dataset(self.config))
        init_seed(self.config["seed"], True)
        self.model = get_model(model)(self.config, self.data[0]._dataset)
        self.trainer: Trainer = get_trainer(self.config["MODEL_TYPE"], model)(
            self.config, self.model
        )

    def fit(self, valid: bool = True, **kwargs: Any) -> Run:
        self.trainer.fit(self.data[0], self.data[1] if valid else None, verbose=False, **kwargs)
        return self

    def test(self) -> dict[str, float]:
        return dict(self.trainer.evaluate(self.data[2], load_best_model=False))

    def state(self) -> dict[str, Any]:
        return {key: value.clone() for key, value in self.model.state_dict().items()}

    def strengths(self) -> dict[str, torch.Tensor]:
        """The λ tables by name."""
        tables = self.trainer.lambda_network.tables
        return {name: table.detach().clone() for name, table in tables.items()}


def small_world(users: int = 20, items: int = 16, prefix: str = "") -> list[tuple[object, object]]:
    """Two tastes: even users like even items, odd users odd ones."""
    return [(f"{prefix}{u}", i) for u in range(users) for i in range(items) if u % 2 == i % 2]


def state_of_training(file: str | Path) -> dict[str, Any]:
    """What a checkpoint holds but for paths, names and the machine."""
    content = load_checkpoint(file, "cpu")
    return {k: v for k, v in content.items() if k not in ("config", "best_file", "machine")}


def same(one: Any, other: Any) -> bool:
    """Bit for bit, through dictionaries and lists."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def original(function: Any) -> Any:
    """RecBole's own function behind ours."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function
