"""Everything runs on a device that is not the CPU, with the CPU's results; see ``other_device``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from recbole_ext import load_data_and_model, run_recbole
from recbole_ext.runs.checkpoint import last_file, load_checkpoint
from recbole_ext.tools.new_users import load
from tests.worlds.helpers import LAMBDA, LOOKAHEAD, QUICK, SHORT
from tests.worlds.other_device import OTHER, other_device
from tests.worlds.rated_world import write_ratings

SPARSE = {**LAMBDA, "learner": "sparse_adam"}
HIGHER = {**LAMBDA, "meta_gradient": "higher", "lookahead_steps": 2, "lambda_learner": "adam"}
SECOND = {"inner_solver": "gradient", "first_order": False, "learn_inner_rates": True}
CLASSES = {"head": "classes", "residual": False, "combination": "none", "inner_solver": "gradient"}
LISTS = {"task": "ranking", "scenario_field": None, "support_sizes": [0, 3]}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("LambdaOptMF", SHORT),
    "softmax of drawn items": ("LambdaOptMF", {**SHORT, "softmax_items": 10}),
    "BPR, forward": ("LambdaOptMF", {"loss": "bpr", "lambda_update_interval": 2}),
    "BPR, analytic": ("LambdaOptMF", LAMBDA),
    "BPR, sparse Adam": ("LambdaOptMF", SPARSE),
    "BPR, higher": ("LambdaOptMF", HIGHER),
    "LightGCN": ("LightGCN", {**LOOKAHEAD, "regularizer": "lambda_opt", "lambda_source": "split"}),
    "MeLU": ("MeLU", {}),
    "MeLU, second order": ("MeLU", SECOND),
    "MeLU, lists": ("MeLU", LISTS),
    "MAMO": ("MAMO", {}),
    "MAMO, classes": ("MAMO", {**CLASSES, "inner_optimizer": "adam"}),
    "MAMO, lists": ("MAMO", {**LISTS, "softmax_items": 20}),
    "ResNetMF": ("ResNetMF", {"embedding_size": 8, "hidden_size": 8}),
}


@pytest.fixture
def settings(world: dict, cold_world: dict, tmp_path: Path) -> dict[str, dict[str, Any]]:
    rated = write_ratings(tmp_path, lambda user, item: 1 + (user * item) % 5)
    tasks = {**cold_world, "floors": False, "train_batch_size": 16}
    return {"MeLU": tasks, "MAMO": tasks, "ResNetMF": rated, "": world}


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_the_same(
    case: str, settings: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, more = CASES[case]
    given = {**QUICK, **settings.get(model, settings[""]), **more}
    # torch cannot wrap a tensor in CSR format
    monkeypatch.setattr("recbole_ext.lambda_opt.building.fast_symmetric", lambda value: value)
    on_cpu = run_recbole(model, config_dict=given)
    with other_device():
        elsewhere = run_recbole(model, config_dict=given)
        assert load_data_and_model(elsewhere["checkpoint"])[1].device == OTHER
    assert elsewhere["test_result"] == on_cpu["test_result"]
    one, other = (tensors(load_checkpoint(run["checkpoint"])) for run in (on_cpu, elsewhere))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=0, equal_nan=True, msg=name)
    assert len(one) > 10

    with other_device():
        lists = new_lists(elsewhere)
    pd.testing.assert_frame_equal(lists, new_lists(on_cpu))

    longer = {**given, "epochs": 4}
    whole = run_recbole(model, config_dict=longer)
    with other_device():
        last = str(last_file(elsewhere["checkpoint"]))
        resumed = run_recbole(model, config_dict={**longer, "resume_file": last})
    assert resumed["test_result"] == whole["test_result"]


def test_mixed_devices_are_refused() -> None:
    with other_device():
        here, there = torch.ones(3), torch.ones(3, device=OTHER)
        for mixed in (
            lambda: here + there,
            lambda: here[there.long()],
            lambda: there.index_add_(0, torch.arange(3), there),
            lambda: torch.randperm(3, device=OTHER, generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError, match="Expected"):
                mixed()
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert (there * torch.tensor(2.0))[torch.arange(2)].tolist() == [2, 2]


def new_lists(run: dict[str, Any]) -> pd.DataFrame:
    """What a new user gets, and what the user is asked."""
    recommender = load(run["checkpoint"])
    dataset = recommender.dataset
    some = [str(item) for item in dataset.field2id_token[recommender.item][1:4]]
    given: dict[str, Any] = {recommender.user: "new", recommender.item: some}
    if recommender.value is not None:
        given[recommender.value] = [5, 1, 3]
    ratings = pd.DataFrame(given)
    users = pd.DataFrame([{recommender.user: "new", "job": "1", "age": 0.5}])
    users = users if recommender.fields else None
    tables = [
        recommender.recommend(users, ratings, topk=5).table,
        recommender.ask_next(users, ratings, topk=5).table,
        recommender.predict(ratings, users, ratings).table,
    ]
    return pd.concat(tables, ignore_index=True)


def tensors(state: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors of a checkpoint by their place in it."""
    if isinstance(state, Tensor):
        return {name: state}
    named = state.items() if isinstance(state, dict) else ()
    return {k: v for key, one in named for k, v in tensors(one, f"{name}/{key}").items()}
