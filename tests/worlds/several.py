"""Trainings in several processes, for the tests: each case in float64, with all that it leaves."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

from recbole_ext.processes.group import group
from recbole_ext.processes.joining import Place, joined
from recbole_ext.runs.checkpoint import modules_of, states_of
from tests.worlds.cold_world import noisy, write_cold_world
from tests.worlds.helpers import LAMBDA, LOOKAHEAD, Run, small_world
from tests.worlds.places import free_port

FACTORS = {"embedding_size": 6, "epochs": 5, "learning_rate": 0.01, "stopping_step": 99}
SOFTMAX = {
    **FACTORS, "loss": "softmax", "train_batch_size": 7, "lambda_epochs": 4, "lambda_steps": 0,
    "lambda_warmup_steps": 2, "lambda_update_interval": 1, "epochs": 4,
}  # fmt: skip
PAIRS = {**FACTORS, "train_batch_size": 33, "epochs": 6}
TASKS = {"epochs": 4, "train_batch_size": 9, "learning_rate": 0.01}
GRADIENT = {**TASKS, "inner_solver": "gradient", "inner_steps": 2}

SPARSE = {**PAIRS, **LAMBDA, "learner": "sparse_adam"}
DRAWN = {**SOFTMAX, "softmax_items": 6, "learner": "sparse_adam"}
THROUGH = {**PAIRS, "loss": "bpr", "meta_gradient": "forward", "learner": "sgd"}

# What is trained: a model, and settings besides those of its world.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("LambdaOptMF", SOFTMAX),
    "softmax, of likelihood": ("LambdaOptMF", {**SOFTMAX, "lambda_loss": "calibrated"}),
    "softmax, drawn items": (
        "LambdaOptMF", {**SOFTMAX, "softmax_items": 6, "learner": "sparse_adam"},
    ),
    "softmax, sgd": ("LambdaOptMF", {**SOFTMAX, "learner": "sgd", "lambda_learner": "sgd"}),
    "softmax, without a last fit": (
        "LambdaOptMF", {**SOFTMAX, "lambda_epochs": 0, "learner": "sgd", "epochs": 5},
    ),
    "pairs, one step ahead": ("LambdaOptMF", {**PAIRS, **LAMBDA}),
    "pairs, sparse": ("LambdaOptMF", {**PAIRS, **LAMBDA, "learner": "sparse_adam"}),
    "pairs, unrolled": (
        "LambdaOptMF",
        {**PAIRS, **LAMBDA, "meta_gradient": "higher", "lookahead_steps": 2,
         "lambda_learner": "adam"},
    ),
    "pairs, through training": (
        "LambdaOptMF", {**PAIRS, "loss": "bpr", "meta_gradient": "forward"},
    ),
    "pairs, through training, one λ": (
        "LambdaOptMF",
        {**PAIRS, "loss": "bpr", "meta_gradient": "forward", "lambda_granularity": "global",
         "lambda_initial": 0.1},
    ),
    "a graph, one step ahead": (
        "LightGCN",
        {**PAIRS, **LOOKAHEAD, "regularizer": "lambda_opt", "lambda_learner": "adam",
         "lambda_granularity": "user+item", "lambda_source": "split", "n_layers": 2},
    ),
    "a graph, through training": (
        "LightGCN",
        {**PAIRS, "regularizer": "lambda_opt", "meta_gradient": "forward",
         "lambda_source": "split", "n_layers": 2},
    ),
    "MeLU": ("MeLU", TASKS),
    "MeLU, by gradients": ("MeLU", GRADIENT),
    "MeLU, lists": ("MeLU", {**TASKS, "task": "ranking"}),
    "MeLU, lists of drawn items": (
        "MeLU", {**TASKS, "task": "ranking", "softmax_items": 12, "item_dropout": 0.0},
    ),
    "MAMO": ("MAMO", TASKS),
    "MAMO, by gradients": ("MAMO", {**GRADIENT, "write_rule": "sequential"}),
    "MAMO, lists": ("MAMO", {**TASKS, "task": "ranking"}),
    "ResNetMF": ("ResNetMF", {**TASKS, "train_batch_size": 500}),
    "RecBole's ItemKNN": ("ItemKNN", {"k": 5}),
    "RecBole's NGCF, with dropout": (
        "NGCF", {**PAIRS, "message_dropout": 0.3, "reg_weight": 0.0, "learner": "adam"},
    ),
    "RecBole's BPR": ("BPR", {**PAIRS, "learner": "adam"}),
}  # fmt: skip

# What is trained with tables whose rows are spread.
SPREAD: dict[str, dict[str, Any]] = {
    "pairs": SPARSE,
    "pairs, sgd": {**SPARSE, "learner": "sgd", "lambda_learner": "sgd"},
    "pairs, scaled λ of rows": {
        **SPARSE, "lambda_granularity": "user+item", "frequency_exponent": 0.5,
        "lambda_clip_norm": 1e-3,
    },
    "pairs, λ of dimensions": {
        **SPARSE, "lambda_granularity": "dimension+user", "lookahead_penalty": "batch",
        "lambda_learner": "adam",
    },
    "pairs, one λ": {**SPARSE, "lambda_granularity": "global", "lookahead_penalty": "table"},
    "pairs, given λ": {**SPARSE, "regularizer": "fixed", "reg_weight": 0.1},
    "pairs, through training": THROUGH,
    "pairs, power law": {
        **THROUGH, "lambda_granularity": "power-law", "lambda_initial": 0.1, "weight_decay": 0.01,
        "lambda_horizon": 2,
    },
    "softmax": DRAWN,
    "softmax, sgd": {**DRAWN, "learner": "sgd"},
    "softmax, one batch smaller than the group": {**DRAWN, "train_batch_size": 2, "epochs": 1},
    "softmax, given λ": {**DRAWN, "regularizer": "frequency", "reg_weight": 1.0},
}  # fmt: skip


def trained(case: str, folder: str, spread: bool = False) -> dict[str, Any]:
    """Train a case; returns everything that the training changes, and the metrics of a test.

    Args:
        case: one of ``CASES``, or of ``SPREAD``.
        folder: for data.
        spread: whether the case is one of ``SPREAD``; several processes then spread its rows.
    """
    torch.set_default_dtype(torch.float64)
    try:
        run = prepared(case, folder, spread)
        steps: list[int] = []
        run.trainer.optimizer.register_step_post_hook(lambda *_: steps.append(1))
        run.fit(saved=False)
        states = states_of(run.trainer)
        return {
            "model": states["model"],
            "modules": states["modules"],
            "moments": {n: o["state"] for n, o in states["optimizers"].items()},
            "metrics": run.test(),
            "steps": len(steps),
        }
    finally:
        torch.set_default_dtype(torch.float32)


def prepared(case: str, folder: str, spread: bool = False, **more: Any) -> Run:
    """A case before its training, in float64; the arguments are those of :func:`trained`."""
    model, settings = ("LambdaOptMF", SPREAD[case]) if spread else CASES[case]
    if spread and group().size > 1:
        settings = {**settings, "embedding_sharding": "row"}
    settings = {**settings, **more}
    cold = model in ("MeLU", "MAMO", "ResNetMF")
    world = _cold_world(folder) if cold else _two_tastes(folder)
    run = Run(model, **{"dataset": "world", **world, **settings, "checkpoint_dir": folder})
    run.model.double()
    for name, value in list(vars(run.model).items()):  # a graph's matrices
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            setattr(run.model, name, value.double())
        elif isinstance(getattr(value, "rows", None), torch.Tensor):
            value.rows = value.rows.double()
    for module in modules_of(run.trainer).values():
        module.double()
    return run


def together(processes: int, work: Callable[..., Any], *given: Any) -> list[Any]:
    """What a function returns in each of several processes that train together."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(processes, processes, "localhost", free_port())
        mp.spawn(_one, (place, folder, work, given), nprocs=processes)
        files = (Path(folder, f"{rank}.pt") for rank in range(processes))
        return [torch.load(file, weights_only=False) for file in files]


def all_trained(folder: str, spread: bool = False) -> dict[str, Any]:
    """All cases, one after another, and the bytes that each has sent."""
    found = {}
    for case in SPREAD if spread else CASES:
        before = group().sent
        found[case] = {**trained(case, folder, spread), "sent": group().sent - before}
    return found


def _one(rank: int, place: Place, folder: str, work: Callable[..., Any], given: Any) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    sys.argv = sys.argv[:1]
    at = Path(folder, f"of-{rank}")
    at.mkdir()
    os.chdir(at)
    with joined(place, rank):
        found = work(*given)
    torch.save(found, Path(folder, f"{rank}.pt"))


def _two_tastes(folder: str) -> dict[str, Any]:
    at = Path(folder, f"pairs-{group().rank}-of-{group().size}", "world")
    at.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token", *(f"{u}\t{i}" for u, i in small_world(30, 20))]
    (at / "world.inter").write_text("\n".join(lines) + "\n")
    return {"data_path": str(at.parent)}


def _cold_world(folder: str) -> dict[str, Any]:
    return write_cold_world(Path(folder, f"tasks-{group().rank}-of-{group().size}"), noisy)
