"""RecBole's own models go on to the same result, whatever they keep besides their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.runs import checkpoint
from recbole_ext.runs.model_attributes import capture_attributes, restore_attributes
from tests.worlds.helpers import Run, same, state_of_training

KNOWLEDGE = {
    "inter": ["user_id", "item_id", "timestamp"],
    "kg": ["head_id", "relation_id", "tail_id"],
    "link": ["item_id", "entity_id"],
}
SEQUENCES = {"inter": ["user_id", "item_id", "timestamp"]}
MODELS: dict[str, dict[str, Any]] = {
    "BPR": {"train_neg_sample_args": {"dynamic": True, "candidate_num": 3}},
    "CFKG": {"load_col": KNOWLEDGE},
    "CKE": {"load_col": KNOWLEDGE},
    "KGCN": {"load_col": KNOWLEDGE},
    "MultiVAE": {},
    "MacridVAE": {},
    "RecVAE": {},
    "DiffRec": {},
    "LINE": {},
    "SASRec": {"load_col": SEQUENCES, "train_neg_sample_args": None, "hidden_size": 16},
}


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Any]:
    """A data set with times and a knowledge graph."""
    random, folder = np.random.default_rng(1), tmp_path / "data" / "small"
    folder.mkdir(parents=True)
    ratings = [
        f"u{user}\ti{item}\t{at}"
        for user in range(30)
        for at, item in enumerate(random.choice(24, 10, replace=False))
    ]
    facts = [f"e{i}\tr{k}\te{random.integers(40)}" for i in range(24) for k in range(3)]
    links = [f"i{i}\te{i}" for i in range(24)]
    for suffix, header, lines in (
        ("inter", "user_id:token\titem_id:token\ttimestamp:float", ratings),
        ("kg", "head_id:token\trelation_id:token\ttail_id:token", facts),
        ("link", "item_id:token\tentity_id:token", links),
    ):
        (folder / f"small.{suffix}").write_text("\n".join([header, *lines]) + "\n")
    sizes = {"embedding_size": 8, "train_batch_size": 64, "MAX_ITEM_LIST_LENGTH": 6}
    world = {"dataset": "small", "data_path": str(folder.parent), "learning_rate": 0.01}
    return {**world, **sizes, "stopping_step": 50, "reproducibility": True}


@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_run_ends_like_an_uninterrupted_one(model: str, small: dict[str, Any]) -> None:
    settings = {**small, **MODELS[model]}
    whole = Run(model, **{**settings, "epochs": 4, "checkpoint_dir": "whole"}).fit()
    first = Run(model, **{**settings, "epochs": 2, "checkpoint_dir": "parts"}).fit()
    last = str(checkpoint.last_file(first.trainer.saved_model_file))
    Run(model, **{**settings, "epochs": 4, "checkpoint_dir": "parts", "resume_file": last}).fit()
    ends = [
        state_of_training(file)
        for file in (checkpoint.last_file(whole.trainer.saved_model_file), last)
    ]
    assert ends[0]["epoch"] == 3
    assert [name for name in ends[0] if not same(ends[0][name], ends[1][name])] == []


@pytest.mark.parametrize(
    ("model", "own"),
    [
        ("RaCT", {"train_stage": "actor_pretrain"}),
        ("S3Rec", {"train_stage": "pretrain", "item_attribute": "item_id", **MODELS["SASRec"]}),
    ],
)
def test_a_training_loop_of_its_own_refuses_to_go_on(
    model: str, own: dict[str, Any], small: dict[str, Any]
) -> None:
    settings = {**small, **own, "resume_file": "x.pth"}
    with pytest.raises(ValueError, match=rf"resume_file: x\.pth cannot be resumed: {model}Tr"):
        Run(model, **settings)


def test_attributes_come_back_in_their_place() -> None:
    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.layer.history = torch.zeros(2)
            self.updates, self.order, self.name = 0, np.arange(3), "x"

    model = Counting()
    held = model.layer.history
    model.updates, model.order[0], held[1] = 7, 9, 5
    state = capture_attributes(model)
    assert set(state) == {"", "layer"}
    other = Counting()
    history, order = other.layer.history, other.order
    restore_attributes(other, state)
    assert (other.updates, order.tolist(), history.tolist()) == (7, [9, 1, 2], [0, 5])
