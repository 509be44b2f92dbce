"""The fast loader gives what RecBole's gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.sampler import KGSampler, Sampler
from recbole.utils import init_seed

from recbole_ext.seams.fast_loader import (
    FastSampler,
    FastTrainDataLoader,
    fast_loader,
    fast_sampler,
)
from tests.worlds.helpers import Run

FEATURES = {"inter": ["user_id", "item_id", "rating"], "item": ["item_id", "release_year"]}


def epochs(loader: TrainDataLoader, model: Any, number: int = 2) -> list[Interaction]:
    init_seed(3, True)
    loader.get_model(model)
    return [batch for _ in range(number) for batch in loader]


@pytest.mark.parametrize(
    "negatives",
    [
        {"distribution": "uniform", "sample_num": 1},
        {"distribution": "popularity", "sample_num": 3, "alpha": 0.5},
        {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 3},
    ],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_those_of_recbole(negatives: dict[str, Any], shuffle: bool) -> None:
    settings = {"train_neg_sample_args": negatives, "load_col": FEATURES, "shuffle": shuffle}
    run = Run("BPR", **settings)
    fast = fast_loader(run.data[0])
    assert type(fast) is FastTrainDataLoader
    ours, theirs = epochs(fast, run.model), epochs(run.data[0], run.model)
    assert len(ours) == len(theirs) == 2 * len(run.data[0])
    for one, other in zip(ours, theirs, strict=True):
        assert one.columns == other.columns
        assert "neg_release_year" in one.columns
        assert all(torch.equal(one[name], other[name]) for name in one.columns)
    assert torch.equal(fast.generator.get_state(), run.data[0].generator.get_state())


def test_negatives_of_a_single_user_are_those_of_recbole() -> None:
    sampler = Run("BPR").data[0]._sampler
    users = np.full(500, 13)
    drawn = []
    for each in (sampler, fast_sampler(sampler)):
        init_seed(3, True)
        drawn.append(each.sample_by_user_ids(users, None, 2))
    assert torch.equal(*drawn)
    assert not set(drawn[0].tolist()) & sampler.used_ids[13]


def test_an_unknown_user_is_named_as_by_recbole() -> None:
    sampler = fast_sampler(Run("BPR").data[0]._sampler)
    with pytest.raises(ValueError, match="944"):
        sampler.sample_by_user_ids(np.array([1, 944]), None, 1)


def test_other_samplers_and_loaders_stay_as_they_are() -> None:
    class Own(Sampler):
        pass

    class OwnLoader(TrainDataLoader):
        pass

    run = Run("BPR")
    for kind in (Own, KGSampler):
        sampler = object.__new__(kind)
        assert fast_sampler(sampler) is sampler
    loader = OwnLoader(run.config, run.data[0]._dataset, run.data[0]._sampler)
    assert fast_loader(loader) is loader
    fast = fast_sampler(run.data[0]._sampler)
    assert isinstance(fast, FastSampler)
    assert fast_sampler(fast) is fast
