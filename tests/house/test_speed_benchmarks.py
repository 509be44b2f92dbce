"""Each benchmark runs at a tiny size and writes its ratios; nothing is timed here."""

from __future__ import annotations

import copy
import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.worlds.places import ROOT

WORK = ("train", "eval")
Smoke = Callable[..., dict[str, float]]


@pytest.fixture
def smoke(monkeypatch: pytest.MonkeyPatch) -> Smoke:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def run(name: str, *arguments: str, **constants: object) -> dict[str, float]:
        module: ModuleType = importlib.import_module(name)
        for constant, value in constants.items():
            monkeypatch.setattr(module, constant, value)
        given = [name, "--repetitions=1", "--json=found.json", *arguments]
        monkeypatch.setattr(sys, "argv", given)
        if hasattr(module, "thread_counts"):
            monkeypatch.setattr(module, "thread_counts", lambda quick: [1])
        module.main()
        with open("found.json") as file:
            found = json.load(file)
        assert found.pop("raw") is not None
        assert found.pop("machine")["versions"]["recbole"]
        assert all(math.isfinite(value) for value in found.values())
        return found

    return run


@pytest.mark.slow
def test_bilevel_step(smoke: Smoke) -> None:
    sizes = {"USERS": 40, "ITEMS": 30, "RATINGS": 1000, "BATCHES": 2, "CALLS": 1}
    found = smoke("bilevel_step", **sizes, CALLS_BESIDE={10: 1, 100: 1})
    names = ("analytic_over_plain", "higher_over_analytic", "sparse_100x_over_1x")
    assert set(found) >= {*names, "memory_analytic_over_plain"}


@pytest.mark.slow
def test_softmax_step(smoke: Smoke) -> None:
    sizes = {"SMALL": (40, 30, 1000), "LARGE": {60: (40, 60, 1000), 90: (40, 90, 1000)}}
    found = smoke("softmax_step", **sizes)
    assert set(found) == {
        "learnt_over_given",
        "drawn_learnt_over_given",
        "drawn_given_10x_items",
        "drawn_learnt_10x_items",
    }


@pytest.mark.slow
def test_meta_tasks(smoke: Smoke) -> None:
    found = smoke("meta_tasks", USERS=120, ITEMS=300, TASKS=16, LOOPED=2, BATCHES=(8, 128))
    speedups = {
        f"{model}_{what}_speedup" for model in ("melu", "mamo") for what in ("train", "eval")
    }
    assert set(found) == {*speedups, "padding"}
    assert 0 <= found["padding"] < 1


@pytest.mark.slow
def test_epoch(smoke: Smoke) -> None:
    found = smoke("epoch", "--models", "BPR", "LambdaOptMF", "MeLU", "--epochs=1")
    assert set(found) == {"lambdaopt_over_bpr", "lambdaopt_over_bpr_without_evaluation"}


@pytest.mark.slow
def test_scale(smoke: Smoke) -> None:
    small = {"users": 30, "items": 20, "ratings": 500, "embedding_size": 4, "batch": 16}
    grows = {"batch": (8, 16), "embedding_size": (4, 8)}
    found = smoke("scale", "--picture=scale.png", START=small, GROWS=grows, CALLS=1)
    assert set(found) == {
        f"{kind}: {what}" for kind in ("analytic", "analytic, sparse Adam") for what in grows
    }
    found = smoke("scale", "--million", START=small, MILLION=small, CALLS=1)
    assert set(found) == {"million_ms", "million_gb"}


@pytest.mark.slow
def test_reading(smoke: Smoke) -> None:
    alone = {"seconds", "gb", "bytes_a_rating", "gb_at_100_million"}
    assert set(smoke("reading", "--ratings=3000")) == {*alone, "speedup", "memory_ratio"}
    assert set(smoke("reading", "--ratings=3000", "--ours")) == alone


@pytest.fixture
def in_float64() -> Iterator[None]:
    """In float32 a rectifier that one way of adding turns the other way moves all weights."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["MeLU", "MAMO"])
def test_the_loop_over_users_does_the_same_work(
    smoke: Smoke, name: str, monkeypatch: pytest.MonkeyPatch, in_float64: None
) -> None:
    synthetic, tasks, loops = map(importlib.import_module, ("synthetic", "meta_tasks", "per_user"))
    synthetic.write_tasks(Path("data/tasks"), 120, 300)
    monkeypatch.setattr(tasks, "TASKS", 8)
    bench = tasks.Bench("data", name, "paper", 8)
    bench.model.double()  # buffers, which are of the data, too
    loop = tasks.LOOPS[name](copy.deepcopy(bench.model))
    judged = bench.evaluation.batch(torch.arange(8))
    with torch.no_grad():
        predicted = bench.model.eval().predict_tasks(judged)
    for row, one in enumerate(loop.predict(loops.tasks_of(judged, range(8)))):
        torch.testing.assert_close(predicted[row, : len(one)], one, rtol=1e-8, atol=1e-8)

    (batch,) = list(bench.loader)
    bench.model.train().calculate_loss(batch).backward()
    bench.trainer.optimizer.step()
    monkeypatch.setattr(loop, "_write", lambda *_: None, raising=False)  # before the next user
    loop.train(loops.tasks_of(batch, range(8)))
    decision = bench.model.decision
    ours = decision.weights if name == "MeLU" else [*decision.of_item, *decision.of_rating]
    linear = [layer for layer in loop.network.modules() if isinstance(layer, torch.nn.Linear)]
    if name == "MAMO":
        linear = linear[len(decision.of_user) // 2 :]
    theirs = [x for layer in linear for x in (layer.weight.T, layer.bias.unsqueeze(0))]
    torch.testing.assert_close(list(ours), theirs, rtol=1e-8, atol=1e-10)
