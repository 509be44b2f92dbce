"""Parity of GPU and CPU: the same training in float64 on both, compared tensor by tensor.

Steps have so large batches that an epoch has two or three. An epoch has batches of the default
size. Dropout is off, because its random numbers differ from device to device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from gpu_checks import CPU, Check, Job, Place
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from torch import Tensor

from recbole_ext.runs.checkpoint import modules_of, optimizers_of

STEP, EPOCH = 1e-10, 1e-7  # the largest difference, relative to a tensor's largest value
LIKE = {"epochs": 1, "eval_step": 0, "state": "ERROR", "show_progress": False}
AT_ONCE = {"lambda_warmup_steps": 0, "lambda_epochs": 0, "lambda_steps": 0}
SOFTMAX = {**AT_ONCE, "train_batch_size": 472, "embedding_size": 32}
BPR = {"loss": "bpr", "train_batch_size": 27_000, "lambda_update_interval": 1, "embedding_size": 32}
FINEST = {**BPR, "lambda_granularity": "dimension+user+item", "lambda_learning_rate": 1e-3}
SPARSE = {"learner": "sparse_adam", "lambda_learner": "sparse_adam"}
TASKS = {"train_batch_size": 256, "floors": False}
LISTS = {"train_batch_size": 256, "task": "ranking", "item_dropout": 0.0, "softmax_items": "all"}
SECOND = {"inner_solver": "gradient", "first_order": False, "learn_inner_rates": True}
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "λ step, softmax, forward": ("LambdaOptMF", SOFTMAX),
    "λ step, softmax of drawn items": ("LambdaOptMF", {**SOFTMAX, "softmax_items": 500}),
    "λ step, BPR, forward": ("LambdaOptMF", BPR),
    "λ step, BPR, analytic": ("LambdaOptMF", {**FINEST, "meta_gradient": "analytic"}),
    "λ step, BPR, analytic, sparse Adam": (
        "LambdaOptMF",
        {**FINEST, **SPARSE, "meta_gradient": "analytic"},
    ),
    "λ step, BPR, higher": ("LambdaOptMF", {**FINEST, "meta_gradient": "higher"}),
    "λ step, LightGCN, analytic": (
        "LightGCN",
        {**FINEST, "regularizer": "lambda_opt", "meta_gradient": "analytic", "n_layers": 1},
    ),
    "MeLU, ratings": ("MeLU", TASKS),
    "MeLU, ratings, second order": ("MeLU", {**TASKS, **SECOND}),
    "MeLU, lists": ("MeLU", LISTS),
    "MAMO, ratings": ("MAMO", TASKS),
    "MAMO, ratings, second order": ("MAMO", {**TASKS, **SECOND}),
    "MAMO, lists": ("MAMO", LISTS),
    "ResNetMF": ("ResNetMF", {"train_batch_size": 27_000, "dropout_prob": 0.0}),
}
EPOCHS: dict[str, tuple[str, dict[str, Any]]] = {
    "LambdaOptMF, softmax": ("LambdaOptMF", AT_ONCE),
    "LambdaOptMF, BPR": ("LambdaOptMF", {"loss": "bpr"}),
    "MeLU": ("MeLU", {"floors": False}),
    "MAMO": ("MAMO", {"floors": False}),
    "ResNetMF": ("ResNetMF", {"dropout_prob": 0.0}),
}


def jobs() -> list[Job]:
    """A job for each step and for each epoch."""
    return [
        Job(part, name, partial(checks, model=model, settings=settings, most=most))
        for part, cases, most in (("steps", STEPS, STEP), ("epochs", EPOCHS, EPOCH))
        for name, (model, settings) in cases.items()
    ]


def checks(
    place: Place, model: str, settings: dict[str, Any], most: float
) -> Iterator[tuple[str, Check]]:
    """The check of one case."""

    def compare() -> str:
        expected = trained(model, {**settings, **CPU})
        found = trained(model, {**settings, **place.settings})
        worst, name = difference(expected, found)
        said = f"{worst:.1e} of at most {most:.0e} ({len(found)} tensors; {name})"
        if not worst <= most:
            raise ValueError(said)
        return said

    yield "", compare


def trained(
    model: str, settings: dict[str, Any], dataset: str = "ml-100k", saved: bool = False
) -> dict[str, Tensor]:
    """All that a training in float64 changes: parameters, memories, λ, tangents and moments."""
    with in_float64():
        config = Config(model, dataset, config_dict={**LIKE, **settings})
        init_seed(config["seed"], True)
        train_data, valid_data, _ = data_preparation(config, create_dataset(config))
        init_seed(config["seed"], True)
        made = get_model(model)(config, train_data._dataset).double().to(config["device"])
        for name, value in list(vars(made).items()):  # a graph, which is no parameter
            if isinstance(value, Tensor) and value.is_floating_point():
                setattr(made, name, value.double())
        trainer = get_trainer(config["MODEL_TYPE"], model)(config, made)
        trainer.fit(train_data, valid_data, verbose=False, saved=saved)
    modules = {"model": made, **modules_of(trainer)}
    states = {name: module.state_dict() for name, module in modules.items()}
    states |= {name: optimizer.state_dict() for name, optimizer in optimizers_of(trainer).items()}
    return tensors(states)


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """New tensors are of float64 in this block."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def tensors(state: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors of a state by their place in it, on the CPU."""
    if isinstance(state, Tensor):
        return {name: state.detach().cpu()}
    named = state.items() if isinstance(state, dict) else ()
    return {k: v for key, one in named for k, v in tensors(one, f"{name}/{key}").items()}


def difference(
    expected: dict[str, Tensor], found: dict[str, Tensor], norm: float = torch.inf
) -> tuple[float, str]:
    """The largest difference of two tensors, relative to the first one's norm, and their name.

    Raises:
        ValueError: if a tensor is missing, has another shape or is not finite.
    """
    if expected.keys() != found.keys():
        raise ValueError(f"in one only: {sorted(expected.keys() ^ found.keys())[:5]}")
    worst, where = 0.0, "none differs"
    for name, value in expected.items():
        one, other = value.double(), found[name].double()
        if one.shape != other.shape or not torch.isfinite(other).all():
            raise ValueError(f"{name}: {tuple(one.shape)}, {tuple(other.shape)}, or not finite")
        if one.numel() and not torch.equal(one, other):
            apart = float((one - other).flatten().norm(norm))
            apart /= max(float(one.flatten().norm(norm)), torch.finfo(torch.double).tiny)
            worst, where = max((worst, where), (apart, name))
    return worst, where
