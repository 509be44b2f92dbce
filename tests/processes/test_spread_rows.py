"""Tables whose rows are spread over processes train as whole ones do, and are saved as such."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import recbole_ext
from recbole_ext.runs.checkpoint import last_file
from tests.contracts.parity import TANGENTS, differences, flat
from tests.worlds.helpers import QUICK, SHORT, same, small_world, state_of_training
from tests.worlds.places import free_port
from tests.worlds.several import SPREAD, all_trained, prepared, together, trained

SMALL = {**QUICK, **SHORT, "embedding_size": 4, "train_batch_size": 8, "topk": [3]}


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_spread_rows_train_what_whole_tables_train(processes: int, tmp_path: Path) -> None:
    of_spread = together(processes, all_trained, str(tmp_path), True)
    wrong = []
    for case, settings in SPREAD.items():
        alone = trained(case, str(tmp_path), spread=True)
        assert alone["steps"] >= 20, case
        assert all(found[case]["metrics"] == alone["metrics"] for found in of_spread), case
        tangents = 1e-10 if settings["learner"] == "sgd" else TANGENTS
        wrong += [f"{case}: {it}" for it in differences(of_spread[0][case], alone, tangents)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("case", ["pairs", "softmax"])
def test_one_process_owns_all_rows(case: str, tmp_path: Path) -> None:
    runs = [
        prepared(case, str(tmp_path / str(way)), spread=True, **way).fit(saved=False)
        for way in ({}, {"embedding_sharding": "row"})
    ]
    assert same(*(run.state() for run in runs))


def test_each_process_holds_its_own_rows_and_no_others() -> None:
    for rank, held in enumerate(together(3, parts)):
        assert held["users"] == {len(range(rank, 31, 3))}
        assert held["items"] == {len(range(rank, 21, 3))}


def parts() -> dict[str, set[int]]:
    """The rows of all that a process has of the users' and of the items' tables."""
    with tempfile.TemporaryDirectory() as folder:
        run = prepared("pairs, through training", folder, spread=True).fit(saved=False)
    sides = {"users": {len(run.model.user_embedding.weight)}, "items": set()}
    sides["items"].add(len(run.model.item_embedding.weight))
    for name, buffer in run.trainer.forward_gradient.named_buffers():
        if "embedding" in name:
            sides["users" if "user_" in name else "items"].add(len(buffer))
    return sides


BPR = {
    "loss": "bpr", "learner": "sparse_adam", "meta_gradient": "analytic", "lambda_learner": "adam",
    "lambda_granularity": "user+item", "lambda_update_interval": 1,
}  # fmt: skip
RUNS = {"bpr": BPR, "softmax": {"softmax_items": 8}}


@pytest.mark.parametrize("loss", RUNS)
def test_a_checkpoint_is_that_of_one_process_and_any_number_goes_on(
    loss: str, write_dataset: Callable[..., str]
) -> None:
    data = write_dataset(small_world(41, 25))
    given = {
        **SMALL, **RUNS[loss], "data_path": data, "dataset": "world", "epochs": 4,
        "lambda_epochs": 2 * (loss == "softmax"), "valid_metric": "NDCG@3",
    }  # fmt: skip
    spread = {**given, "embedding_sharding": "row", "checkpoint_dir": "saved"}
    whole = recbole_ext.run("LambdaOptMF", None, config_dict=dict(given))
    assert whole
    half = run_by_two({**spread, "epochs": 2})
    alone = recbole_ext.run("LambdaOptMF", None, config_dict={**given, "epochs": 2})
    assert half["test_result"] == pytest.approx(alone["test_result"], abs=1e-3)
    last = last_file(half["checkpoint"])
    one, other = (state_of_training(file) for file in (last, last_file(alone["checkpoint"])))
    for part in ("state_dict", "modules", "optimizer"):
        assert_near(one[part], other[part])
    _, model, *_ = recbole_ext.load_data_and_model(half["checkpoint"])
    assert len(model.user_embedding.weight) == 42
    again = {**given, "resume_file": str(last)}
    for result in (
        recbole_ext.run("LambdaOptMF", None, config_dict=dict(again)),
        run_by_two({**spread, "resume_file": str(last_file(alone["checkpoint"]))}),
    ):
        assert result["test_result"] == pytest.approx(whole["test_result"], abs=1e-3)


def run_by_two(settings: dict[str, Any]) -> dict[str, Any]:
    found = recbole_ext.run(
        "LambdaOptMF", None, config_dict=dict(settings), nproc=2, port=str(free_port())
    )
    assert found
    return found


def assert_near(found: Any, wanted: Any) -> None:
    one, other = flat(found), flat(wanted)
    assert one.keys() == other.keys()
    for key, value in other.items():
        assert torch.allclose(one[key].double(), value.double(), atol=1e-4), key
