"""Rows are grouped, divided, counted and selected as by RecBole's loops."""

from __future__ import annotations

from collections import Counter
from logging import getLogger
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.utils import init_seed

from recbole_ext.seams.grouped_rows import count
from tests.worlds.outcomes import HOW
from tests.worlds.recboles_data import recboles_own

USERS = st.lists(st.integers(0, 12), min_size=1, max_size=60)


def divided(users: list[int], ratios: list[float], leave: str) -> Any:
    """The rows of each part, by ratio and with some left out."""
    rows = Interaction({"user": torch.tensor(users), "row": torch.arange(len(users))})
    dataset = SimpleNamespace(inter_feat=rows, logger=getLogger(), _drop_unused_col=lambda: None)
    dataset.copy = lambda part: part["row"].tolist()
    for name in ("_grouped_index", "_calcu_split_ids", "_split_index_by_leave_one_out"):
        setattr(dataset, name, MethodType(Dataset.__dict__[name], dataset))
    by_ratio = Dataset.split_by_ratio(dataset, ratios, "user")
    return by_ratio, Dataset.leave_one_out(dataset, "user", leave)


@given(
    USERS,
    st.lists(st.floats(0.01, 9), min_size=3, max_size=3),
    st.sampled_from(["valid_and_test", "valid_only", "test_only"]),
)
@settings(**HOW)
def test_parts_are_those_of_the_loops(users: list[int], ratios: list[float], leave: str) -> None:
    ours = divided(users, ratios, leave)
    with recboles_own():
        assert ours == divided(users, ratios, leave)


@given(USERS, st.integers(0, 3))
@settings(**HOW)
def test_counts_are_those_of_a_counter(users: list[int], missing: int) -> None:
    tokens = np.array([None if user < missing else f"u{user}" for user in users], dtype=object)
    for values in (np.array(users), pd.Categorical(tokens), tokens, users):
        ours, theirs = count(values), Counter(values)
        assert type(ours) is Counter
        assert [*map(str, ours)] == [*map(str, theirs)]  # nan is no key to be looked up by
        assert list(ours.values()) == list(theirs.values())
        assert {*map(type, ours)} == {*map(type, theirs)}


WORLD = Interaction({"a": torch.arange(7), "b": torch.rand(7, 2), "c": torch.rand(7) > 0.5})
INDICES = [
    np.array([3, 1, 1]), np.array([-1, 2]), np.array([5], dtype=np.int16), np.array([], dtype=int),
    np.array([True, False] * 3 + [True]), torch.tensor([6, 0, -7]),
    torch.tensor([], dtype=torch.long), torch.arange(7) > 2,
    torch.tensor([1, 0], dtype=torch.uint8),
    range(2, 5), range(0), range(0, 7, 3), [4, 4], slice(1, 6, 2), 3, np.array(2), [],
    np.arange(14)[::2] // 2,
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_rows_are_those_of_lists(index: Any) -> None:
    ours = WORLD[index]
    with recboles_own():
        theirs = WORLD[index]
    assert len(ours) == len(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in WORLD)


@given(USERS, USERS, st.integers(1, 3))
@settings(**HOW)
def test_used_items_are_those_of_the_sets(users: list[int], asked: list[int], each: int) -> None:
    def part(rows: slice) -> Any:
        some = torch.tensor(users[rows], dtype=torch.int64)
        feat = Interaction({"u": some, "i": (some * 7 + torch.arange(len(some))) % 30 + 1})
        return SimpleNamespace(
            inter_feat=feat, uid_field="u", iid_field="i", user_num=13, item_num=90
        )

    def found() -> Any:
        init_seed(1, True)
        cuts = (slice(0, None, 3), slice(1, None, 3), slice(2, None, 3))
        sampler = Sampler(["train", "valid", "test"], [part(cut) for cut in cuts], "popularity")
        sets, drawn = [], []
        for phase in sampler.phases:
            sets.append([[*map(int, some)] for some in sampler.set_phase(phase).used_ids])
            sampler.set_distribution("uniform")
            drawn.append(sampler.set_phase(phase).sample_by_user_ids(asked, None, each).tolist())
        return sets, drawn, np.random.random()

    ours = found()
    with recboles_own():
        assert ours == found()
