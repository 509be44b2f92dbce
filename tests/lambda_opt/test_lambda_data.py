"""Which ratings λ learns from, and what is drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recbole_ext.lambda_opt.holdout import split_training, split_validation
from recbole_ext.lambda_opt.triples import TripleSampler
from tests.worlds.helpers import Run

ANALYTIC = {"meta_gradient": "analytic"}


@pytest.mark.parametrize(
    "negatives",
    [
        {"distribution": "uniform", "sample_num": 1},
        {"distribution": "popularity", "sample_num": 1, "alpha": 0.5},
        {"distribution": "popularity", "sample_num": 3},
    ],
)
@pytest.mark.parametrize("source", ["split", "holdout"])
def test_expected_shares_are_those_of_the_drawn_batches(
    negatives: dict[str, Any], source: str
) -> None:
    run = Run(
        lookahead_penalty="expected",
        **ANALYTIC,
        lambda_source=source,
        train_neg_sample_args=negatives,
        train_batch_size=4096,
    )
    loader, _ = run.trainer._set_up_lambda(*run.data[:2])
    drawn, total = torch.zeros(run.model.n_items), 0
    rated = loader._dataset.inter_feat["item_id"].bincount(minlength=run.model.n_items)
    for _ in range(10):
        for batch in loader:
            drawn += torch.bincount(batch["neg_item_id"], minlength=run.model.n_items)
            total += len(batch)
    positive = rated / rated.sum()
    expected = run.trainer._lookahead.item.shares - positive  # of the negatives
    busiest = rated.argsort(descending=True)
    for some in (busiest[:50], busiest[50:500], busiest[500:]):
        share = expected[some].sum().item()
        assert (drawn[some] / total).sum().item() == pytest.approx(share, rel=0.015)


def pairs(dataset: Any) -> set[tuple[int, int]]:
    feat = dataset.inter_feat
    return set(zip(feat["user_id"].tolist(), feat["item_id"].tolist(), strict=True))


def test_holdout_and_training_share_no_rating() -> None:
    run = Run()
    whole = run.data[0]._dataset
    loader, held_out = split_training(run.data[0], 0.1)
    assert pairs(held_out).isdisjoint(pairs(loader._dataset))
    assert pairs(held_out) | pairs(loader._dataset) == pairs(whole)
    assert len(held_out) / len(whole) == pytest.approx(0.1, abs=0.005)
    later = pairs(run.data[1]._dataset) | pairs(run.data[2]._dataset)
    assert pairs(held_out).isdisjoint(later)
    # a held-out item is masked in evaluation and never drawn as a negative
    used = loader._sampler.used_ids
    assert all(item in used[user] for user, item in pairs(held_out))


def test_ratings_on_both_sides_are_told(
    write_dataset: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    pairs = [(u, i) for u in range(20) for i in range(20) if (u + i) % 3]
    for twice, told in (([], False), (pairs[::2], True)):
        path = write_dataset([*pairs, *twice])
        settings = {"dataset": "world", "data_path": path, "load_col": None}
        for source in ("split", "holdout"):
            caplog.clear()
            run = Run(**settings, lambda_source=source)
            run.trainer._set_up_lambda(*run.data[:2])
            assert ("that λ learns from are of a user and an item" in caplog.text) is told


@pytest.mark.parametrize(("n", "ratio", "expected"), [(4, 0.1, 0), (6, 0.1, 1), (1, 0.9, 0)])
def test_each_user_gives_a_rounded_share_but_never_all(
    write_dataset: Callable[..., str], n: int, ratio: float, expected: int
) -> None:
    few, busy = [("few", i) for i in range(n + 1)], [("busy", i) for i in range(20)]
    path = write_dataset([*few, *busy, *[("other", i) for i in range(20, 40)]])
    split = {"split": {"LS": "test_only"}}  # takes one rating of each user
    run = Run(dataset="world", data_path=path, load_col={"inter": "*"}, eval_args=split)
    whole = run.data[0]._dataset
    _, held_out = split_training(run.data[0], ratio)
    user = whole.token2id("user_id", "few")
    kept = sum(u == user for u, _ in pairs(whole))
    assert kept == n
    assert sum(u == user for u, _ in pairs(held_out)) == expected


def test_lambda_source_decides_what_lambda_learns_from() -> None:
    for source in ("split", "valid", "holdout"):
        run = Run(lambda_source=source, lambda_granularity="user", **ANALYTIC)
        train, valid = run.trainer._set_up_lambda(*run.data[:2])
        drawn, trained = (
            set(zip(data.users.tolist(), data.items.tolist(), strict=True))
            for data in (run.trainer._lambda_data, run.trainer._lookahead.train_sampler)
        )
        selects, all_valid = pairs(valid._dataset), pairs(run.data[1]._dataset)
        assert drawn.isdisjoint(trained)
        assert trained == pairs(train._dataset)
        assert trained | (drawn if source == "holdout" else set()) == pairs(run.data[0]._dataset)
        if source == "valid":
            assert drawn == selects == all_valid
        else:
            assert drawn.isdisjoint(selects)  # what selects the epoch trains nothing
            assert selects | (drawn if source == "split" else set()) == all_valid


@pytest.mark.parametrize("ratio", [0.5, 0.25])
def test_validation_is_split_evenly_and_what_is_given_up_is_masked(ratio: float) -> None:
    run = Run()
    loader, given_up = split_validation(run.data[1], ratio)
    assert len(given_up) / len(run.data[1]._dataset) == pytest.approx(ratio, abs=1e-3)
    taken = pairs(given_up)
    counts = {}
    for user, _ in pairs(run.data[1]._dataset):
        counts[user] = counts.get(user, 0) + 1
    for user, n in counts.items():
        assert abs(sum(u == user for u, _ in taken) - ratio * n) <= 1
    masked = set()
    for interaction, (rows, items), *_ in loader:
        users = interaction["user_id"][rows]
        masked |= set(zip(users.tolist(), items.tolist(), strict=True))
    assert taken <= masked


def test_leave_one_out_users_take_turns(world: dict[str, Any]) -> None:
    split = {"eval_args": {"split": {"LS": "valid_and_test"}}}
    run = Run(**{**world, **split}).fit()  # the default source
    loader, given_up = split_validation(run.data[1], 0.5)
    assert len(loader._dataset) == len(given_up) == 10
    with pytest.raises(ValueError, match=r"lambda_split_ratio: 0.01 of 20 validation ratings"):
        split_validation(run.data[1], 0.01)


def test_triples_are_positives_and_negatives() -> None:
    run = Run()
    train, sampler = run.data[0]._dataset, run.data[0]._sampler
    drawn = TripleSampler(train, sampler, torch.device("cpu")).draw(500)
    known = set(zip(*(train.inter_feat[k].tolist() for k in ("user_id", "item_id")), strict=True))
    users, positives, negatives = (ids.tolist() for ids in drawn)
    assert all(pair in known for pair in zip(users, positives, strict=True))
    assert not any(pair in known for pair in zip(users, negatives, strict=True))
