from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam, SparseAdam
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_ext.lambda_opt.gradient.bpr import Triples, bpr_row_gradients
from recbole_ext.lambda_opt.gradient.clipping import clip_gradient_norm
from recbole_ext.lambda_opt.gradient.one_step import Side, analytic_hypergradient
from recbole_ext.lambda_opt.gradient.unrolled import unrolled_hypergradient
from recbole_ext.lambda_opt.lambda_network import GRANULARITIES, LambdaNetwork
from recbole_ext.lambda_opt.lambda_network.dump import dump_folder, read_dump
from tests.worlds.helpers import LOOKAHEAD, Run, same, small_world


@pytest.fixture
def world(world: dict[str, Any]) -> dict[str, Any]:
    return {**world, **LOOKAHEAD, "lambda_granularity": "dimension+user+item"}


@pytest.fixture
def noise(write_dataset: Callable[..., str]) -> dict[str, Any]:
    """30 users ``t…`` with one of two tastes, and 30 users ``r…`` who pick at random."""
    generator = torch.Generator().manual_seed(0)
    pairs: list[tuple[object, object]] = small_world(30, 40, "t")
    for u in range(30):
        pairs += [(f"r{u}", i) for i in torch.randperm(40, generator=generator)[:20].tolist()]
    path = write_dataset(pairs, "noise")
    settings = {"embedding_size": 16, "train_batch_size": 128, "learning_rate": 0.01, **LOOKAHEAD}
    return {"dataset": "noise", "data_path": path, "load_col": {"inter": "*"}, **settings}


def test_fixed_at_zero_is_recboles_bpr() -> None:
    """Same seeds, same batches, same weights: the model differs from BPR by its penalty alone."""
    ours = Run(regularizer="fixed", reg_weight=0.0).fit()
    theirs = Run("BPR").fit()
    assert ours.test() == theirs.test()
    for name in ("user_embedding.weight", "item_embedding.weight"):
        torch.testing.assert_close(ours.state()[name], theirs.state()[name], rtol=1e-4, atol=1e-6)


def test_fixed_lambda_is_given_and_stays() -> None:
    run = Run(regularizer="fixed", reg_weight=0.01, epochs=1).fit()
    assert run.strengths()["user"].tolist() == [[pytest.approx(0.01)]]
    assert not hasattr(run.trainer, "lambda_optimizer")


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_every_granularity_learns_a_non_negative_lambda(
    noise: dict[str, Any], granularity: str
) -> None:
    run = Run(**{**noise, "lambda_granularity": granularity, "epochs": 3}).fit()
    tables = run.strengths().values()
    assert all((table >= 0).all() and (table > 0).any() for table in tables)


@pytest.mark.parametrize("learner", ["adam", "sgd", "sparse_adam"])
@pytest.mark.parametrize("lambda_learner", ["adam", "sgd", "sparse_adam"])
@pytest.mark.parametrize("lookahead_penalty", ["batch", "table", "expected"])
def test_every_pair_of_optimizers_trains(
    world: dict[str, Any], learner: str, lambda_learner: str, lookahead_penalty: str
) -> None:
    settings = {
        "learner": learner,
        "lambda_learner": lambda_learner,
        "lookahead_penalty": lookahead_penalty,
        "learning_rate": 0.05,
        "epochs": 1,
    }
    run = Run(**{**world, **settings})
    before = {**run.state(), **run.strengths()}
    run.fit()
    after = {**run.state(), **run.strengths()}
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed == set(before)


def test_analytic_and_higher_train_to_the_same_lambda(world: dict[str, Any]) -> None:
    settings = {**world, "lambda_learner": "adam", "learner": "sgd", "learning_rate": 0.5}
    runs = [Run(**{**settings, "meta_gradient": k}).fit() for k in ("analytic", "higher")]
    states = [{**run.state(), **run.strengths()} for run in runs]
    torch.testing.assert_close(states[0], states[1], rtol=1e-3, atol=1e-6)


def test_lookahead_takes_the_coming_batch_and_then_fresh_ones(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def record(module: Any, optimizer: Any, train: list[Triples], *rest: Any) -> Tensor:
        seen.append(train)
        return unrolled_hypergradient(module, optimizer, train, *rest)

    monkeypatch.setattr("recbole_ext.lambda_opt.gradient.lookahead.unrolled_hypergradient", record)
    run = Run(**{**world, "meta_gradient": "higher", "lookahead_steps": 3})
    run.trainer._set_up_lambda(*run.data[:2])
    batch = Triples(*torch.tensor([[1, 2, 3], [2, 3, 4]]).T.contiguous())
    run.trainer.gradient.begin(batch, None)
    run.trainer.gradient.add(batch)
    (train,) = seen
    assert len(train) == 3
    assert train[0] is batch
    assert all(len(more.users) == 2 for more in train[1:])


def test_the_update_interval_counts_batches_through_epochs(world: dict[str, Any]) -> None:
    """4 batches an epoch and a λ step every 3rd, the first 3 left out: batches 5 | 8 | 11."""
    interval = {"lambda_update_interval": 3, "train_batch_size": 30}
    run = Run(**{**world, **interval}, epochs=3, lambda_warmup_steps=3)
    taken: list[int] = []
    step = run.trainer._lambda_step
    run.trainer._lambda_step = lambda *batch: (taken.append(run.trainer._batch), step(*batch))
    run.fit()
    assert math.ceil(len(run.trainer._lookahead.train_sampler.users) / 30) == 4
    assert taken == [5, 8, 11]


def test_the_progress_bar_shows_losses_and_lambda(
    world: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Run(**{**world, "epochs": 1}).fit(show_progress=True)
    shown = capsys.readouterr().err
    assert re.search(r"Train +0.*loss=0\.\d{4}, λ loss=0\.\d{4}, mean λ=\d\.\d\de[+-]\d\d", shown)


@pytest.mark.parametrize("granularity", ["user+item", "dimension+user+item"])
def test_known_world_recommends_the_withheld_items(
    write_dataset: Callable[..., str], granularity: str
) -> None:
    path = write_dataset(small_world(40, 40))
    run = Run(
        dataset="world",
        data_path=path,
        load_col={"inter": "*"},
        **{**LOOKAHEAD, "lambda_granularity": granularity},
        embedding_size=8,
        train_batch_size=128,
        learning_rate=0.02,
        epochs=30,
        topk=[1],
        valid_metric="MRR@1",
    ).fit()
    best = run.trainer.evaluate(run.data[2], load_best_model=True)
    assert best["precision@1"] == 1.0


def test_lambda_is_larger_where_ratings_are_noise(noise: dict[str, Any]) -> None:
    """Users who pick at random deserve more regularisation than users with a taste."""
    settings = {"lambda_granularity": "user", "lambda_learning_rate": 0.01, "stopping_step": 100}
    run = Run(**{**noise, **settings, "epochs": 40}).fit()
    strength = run.strengths()["user"].flatten()
    tokens = run.data[0]._dataset.field2id_token["user_id"]
    noisy = torch.tensor([token.startswith("r") for token in tokens])
    tasteful = torch.tensor([token.startswith("t") for token in tokens])
    assert strength[noisy].mean() > 2 * strength[tasteful].mean()


class Allocations(TorchDispatchMode):
    """Counts the elements of every new tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {a.data_ptr() for a in args if self._dense(a)}
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if self._dense(tensor) and tensor.data_ptr() not in inputs:
                self.elements += tensor.numel()
        return result

    @staticmethod
    def _dense(value: Any) -> bool:
        return isinstance(value, Tensor) and value.layout == torch.strided


def lambda_step_elements(n_rows: int, learner: str) -> int:
    """Elements made by one λ step on tables of ``n_rows`` rows, after one that warms up."""
    sparse = learner == "sparse_adam"
    tables = [nn.Embedding(n_rows, 8, sparse=sparse) for _ in range(2)]
    parameters = [table.weight for table in tables]
    optimizer = (SparseAdam if sparse else Adam)(parameters)
    network = LambdaNetwork("dimension+user+item", n_rows, n_rows, 8, sparse=True)
    shares = torch.rand(n_rows)
    sides = [
        Side(name, table, network, shares)
        for name, table in zip(("user", "item"), parameters, strict=True)
    ]
    batch = Triples(*torch.tensor([[1, 2, 3], [2, 3, 4], [1, 4, 5]]).T.contiguous())
    sum(table(batch.positives).sum() for table in tables).backward()
    optimizer.step()
    lambda_optimizer = SparseAdam(list(network.parameters()))

    def step() -> None:
        lambda_optimizer.zero_grad()
        read = bpr_row_gradients(*parameters, batch)
        analytic_hypergradient(*sides, optimizer, read, batch)
        clip_gradient_norm(network.parameters(), 100.0)
        lambda_optimizer.step()
        network.clamp()

    step()  # makes the state of λ's optimiser, once for all
    with Allocations() as counted:
        step()
    return counted.elements


@pytest.mark.parametrize("learner", ["adam", "sparse_adam"])
def test_the_lambda_step_works_on_its_batch_not_on_the_tables(learner: str) -> None:
    small, large = (lambda_step_elements(n_rows, learner) for n_rows in (100, 100_000))
    assert small == large
    assert large < 5_000


def test_the_real_optimizer_is_untouched_by_the_lambda_step(world: dict[str, Any]) -> None:
    run = Run(**world, epochs=1).fit()
    trainer = run.trainer
    optimizer = copy.deepcopy(trainer.optimizer.state_dict())
    weights, strengths = run.state(), run.strengths()
    trainer._set_up_lambda(*run.data[:2])
    batch = trainer._lookahead.train_sampler.draw(50)
    trainer.gradient.begin(batch, trainer.objective.read(batch))
    trainer._lambda_step(50)
    torch.testing.assert_close(trainer.optimizer.state_dict(), optimizer, rtol=0, atol=0)
    assert same(run.state(), weights)
    assert not same(run.strengths(), strengths)


def test_nan_is_reported_with_what_to_change(world: dict[str, Any]) -> None:
    run = Run(**world)
    run.model.user_embedding.weight.data.fill_(float("nan"))
    with pytest.raises(
        ValueError, match=r"the loss is NaN in batch 0: lower learning_rate \(0.01\)"
    ):
        run.fit()


def test_lambda_is_dumped_after_each_epoch(world: dict[str, Any]) -> None:
    run = Run(**world, lambda_dump=True, epochs=3).fit()
    dumped = read_dump(dump_folder(run.trainer.saved_model_file))
    assert {name: table.shape for name, table in dumped.items()} == {
        "user": (3, 21, 8),
        "item": (3, 17, 8),
    }
    for name, table in run.strengths().items():
        assert (dumped[name][-1] == table.numpy()).all()
        assert (dumped[name][0] != dumped[name][-1]).any()
    with pytest.raises(FileNotFoundError, match=r"no λ in .*: train with lambda_dump: True"):
        read_dump("nowhere")


@pytest.mark.parametrize("regularizer", ["frequency", "lambda_opt"])
def test_frequency_scales_lambda_by_the_training_ratings(
    write_dataset: Callable[..., str], regularizer: str
) -> None:
    pairs = [("few", i) for i in range(10)] + [("busy", i) for i in range(40)]
    pairs += [("other", i) for i in range(25)] + [("spare", i) for i in range(40, 50)]
    path = write_dataset(pairs)
    settings = {"regularizer": regularizer, "reg_weight": 0.1, "frequency_exponent": 0.5}
    run = Run(dataset="world", data_path=path, load_col={"inter": "*"}, **settings, epochs=1).fit()
    ids = run.data[0]._dataset.token2id("user_id", ["few", "other", "busy"])
    factors = (torch.tensor([8.0, 21, 32]) / 17.25) ** 0.5
    network = run.trainer.lambda_network
    torch.testing.assert_close(network.scale_of("user")[ids].flatten(), factors)
    (weight,) = run.strengths()["user"].flatten().tolist()
    torch.testing.assert_close(network.user(torch.as_tensor(ids)).flatten(), weight * factors)
    if regularizer == "frequency":
        assert weight == pytest.approx(0.1)
    assert set(run.strengths()) == {"user"}  # the default granularity leaves items alone
    both = Run(
        dataset="world",
        data_path=path,
        load_col={"inter": "*"},
        **{**settings, "lambda_granularity": "global"},
        epochs=1,
    ).fit()
    network = both.trainer.lambda_network
    for side in ("user", "item"):  # one weight, and a factor for each row of both sides
        expected = both.strengths()["shared"] * network.scale_of(side)
        torch.testing.assert_close(network.whole(side), expected)
        assert len(network.scale_of(side).unique()) > 2
