"""MAMO against the paper's equations, its memories in a run, and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_ext import run_recbole
from recbole_ext.meta.decisions.rating_heads import ClassHead, rating_levels
from recbole_ext.runs.checkpoint import last_file
from tests.contracts.meta_learners import MetaContract
from tests.meta.mamo_reference import memories_of, one_user, users_of, write
from tests.worlds.cold_world import write_cold_world
from tests.worlds.helpers import QUICK, Run, same

PAPER = {"preset": "paper", "mlp_hidden_size": [6], "inner_learning_rate": 0.05}
REGRESSION = {"head": "regression", "outer_loss": "squared", "first_order": False}
HEADS = {
    "paper": {},
    "wide": {"embedding_size": 24, "mlp_hidden_size": []},  # its steps are kept as rows
    "second order": {"first_order": False},
    "regression": REGRESSION,
}


class TestRidge(MetaContract):
    """The default: memories say around which vector a user's is sought."""

    model = "MAMO"
    known = {"mae": 0.7741}


class TestGradient(MetaContract):
    """The paper's three networks, with Adam on parts of the support set."""

    model = "MAMO"
    settings = {"inner_solver": "gradient", "inner_batch_size": 3, "inner_optimizer": "adam"}
    known = {"mae": 0.7782}


class TestPaper(MetaContract):
    """The published model."""

    model = "MAMO"
    settings = {"preset": "paper"}
    known = {"mae": 0.992}


def in_double(cold_world: dict[str, Any], **settings: Any) -> Run:
    """A model with memories that have been written, in float64."""
    run = Run("MAMO", **{**cold_world, **PAPER, **settings}).fit()
    run.model.double().train()
    run.model.zero_grad()
    with torch.no_grad():
        run.model.feature_memory.attention.weight.normal_()
        run.model.feature_memory.gradients.normal_()
    return run


def double_batch(run: Run, tasks: int) -> Any:
    batch = run.model.split.training.resplit(4, None, 60, torch.Generator().manual_seed(1))
    batch = batch.batch(torch.arange(tasks))
    sides = [
        type(side)(side.items, side.ratings.double(), side.mask.double())
        for side in (batch.support, batch.query)
    ]
    return type(batch)(batch.users, *sides)


@pytest.mark.parametrize("tasks", [1, 5])
@pytest.mark.parametrize("rule", ["mean", "sequential"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_losses_gradients_and_writes_are_those_of_the_papers_equations_user_by_user(
    tasks: int, rule: str, head: dict[str, Any], cold_world: dict[str, Any]
) -> None:
    run = in_double(cold_world, write_rule=rule, gradient_clamp=0.0, **head)
    model, batch = run.model, double_batch(run, tasks)
    assert len(set(batch.support.mask.sum(-1).tolist())) > 1 or tasks == 1
    before = memories_of(model)
    alone = [one_user(model, before, *task) for task in users_of(batch)]
    wanted = torch.stack([loss for loss, _ in alone]).mean()
    learnt = {k: p for k, p in model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(wanted, list(learnt.values()), allow_unused=True)
    after = write(before, [written for _, written in alone], model)

    found = model.calculate_loss(batch)
    found.backward()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    for (name, parameter), gradient in zip(learnt.items(), gradients, strict=True):
        if gradient is None:  # the preference that all tasks would share without a task memory
            assert parameter.grad is None, name
            continue
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-8, atol=1e-11)
    for name in ("profiles", "gradients", "preferences"):
        one, other = getattr(memories_of(model), name), getattr(after, name)
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("settings", [{}, PAPER], ids=["ridge", "paper"])
def test_memories_are_written_in_training_only(
    settings: dict[str, Any], cold_world: dict[str, Any]
) -> None:
    run = Run("MAMO", **{**cold_world, **settings})
    batch = run.model.split.training.resplit(4, None, 60, torch.Generator()).batch(torch.arange(4))

    def memories() -> dict[str, Any]:
        return {k: v.clone() for k, v in vars(memories_of(run.model)).items()}

    before = memories()
    run.model.eval()
    run.model.calculate_loss(batch)
    run.test()
    assert same(memories(), before)
    run.model.train()
    run.model.adapt(batch.users, batch.support)
    assert same(memories(), before)
    run.model.calculate_loss(batch)
    assert not any(same(memories()[name], before[name]) for name in before)


@pytest.mark.parametrize("settings", [{}, PAPER], ids=["ridge", "paper"])
def test_a_checkpoint_brings_the_memories_back_to_the_last_bit(
    settings: dict[str, Any], cold_world: dict[str, Any]
) -> None:
    run = Run("MAMO", **{**cold_world, **settings}).fit()
    again = Run("MAMO", **{**cold_world, **settings})
    last = last_file(run.trainer.saved_model_file)
    again.trainer.resume_checkpoint(last)
    saved = torch.load(last)["state_dict"]
    assert {"feature_memory.profiles", "feature_memory.gradients"} <= set(saved)
    assert same(again.state(), saved)
    run.model.load_state_dict(saved)
    rows = run.data[2]._dataset.inter_feat
    run.model.eval(), again.model.eval()
    with torch.no_grad():
        assert torch.equal(run.model.predict(rows), again.model.predict(rows))


def test_a_checkpoint_with_other_memories_is_refused(cold_world: dict[str, Any]) -> None:
    run = Run("MAMO", **cold_world).fit()
    other = Run("MAMO", **cold_world, memory_slots=5)
    with pytest.raises(ValueError, match=r"feature_memory.profiles: \(3, \d+\) instead of \(5"):
        other.trainer.resume_checkpoint(last_file(run.trainer.saved_model_file))


@pytest.mark.parametrize("solver", [{}, {"inner_solver": "gradient"}], ids=["ridge", "gradient"])
def test_without_memories_tasks_start_alike(
    solver: dict[str, Any], cold_world: dict[str, Any]
) -> None:
    without = {"feature_memory": False, "task_memory": False}
    model = Run("MAMO", **cold_world, **solver, **without).fit().model
    for weight in model.start(torch.arange(1, 4)):
        assert torch.equal(weight[0], weight[1])
        assert torch.equal(weight[0], weight[2])
    model = Run("MAMO", **cold_world, **solver, feature_memory=False).fit().model
    assert torch.equal(model.attend(torch.arange(3)), torch.full((3, 3), 1 / 3))
    assert model.task_memory is not None


def by_job(user: int, item: int, random: Any) -> float:
    """Even users love what odd users hate."""
    return 5.0 if (user + item) % 2 == 0 else 1.0


def test_new_users_start_from_what_users_alike_preferred(tmp_path: Path) -> None:
    """The profile tells the taste, and there is no rating to learn it from."""
    world = write_cold_world(tmp_path / "data", by_job)
    people = [f"u{u}\t{u % 2}\t0.5" for u in range(80)]
    file = tmp_path / "data" / "cold" / "cold.user"
    file.write_text("\n".join(["user_id:token\tjob:token\tage:float", *people]) + "\n")
    settings = {"epochs": 40, "stopping_step": 100, "learning_rate": 0.01, "memory_slots": 2}

    def starts(**more: Any) -> torch.Tensor:
        run = Run("MAMO", **{**world, **settings, **more}).fit()
        run.model.eval()
        with torch.no_grad():
            return run.model.start(torch.arange(1, 5))[0]

    vectors = starts()  # users 1 and 3 are alike, and so are 2 and 4
    near = torch.linalg.norm(vectors[0] - vectors[2])
    far = torch.linalg.norm(vectors[0] - vectors[1])
    assert near < 1e-4 < 0.05 < far
    vectors = starts(feature_memory=False)
    assert torch.equal(vectors[0], vectors[1])


def test_classes_are_read_as_expectation_and_as_the_most_likely_level(
    cold_world: dict[str, Any],
) -> None:
    settings = {**QUICK, **cold_world, **PAPER, "floors": False}
    result = run_recbole("MAMO", None, None, settings)
    rows = {row["method"] for row in result["scenarios"]}
    assert rows == {"MAMO", "MAMO, most likely class"}
    head = ClassHead(torch.tensor([1.0, 2.0, 5.0]))
    outputs = torch.tensor([[[0.2, 0.5, 0.3]]]).log()
    assert head(outputs).item() == pytest.approx(0.2 + 1.0 + 1.5)
    assert head.most_likely(outputs).item() == 2.0
    error = head.error(outputs, torch.tensor([[4.0]]), torch.ones(1, 1))
    assert error.item() == pytest.approx(-torch.tensor(0.3).log().item())


def test_ratings_of_many_values_are_no_classes(tmp_path: Path) -> None:
    world = write_cold_world(tmp_path / "data", lambda user, item, random: random.random())
    with pytest.raises(ValueError, match="head: classes needs a small set of rating levels"):
        Run("MAMO", **world, preset="paper")
    assert rating_levels(torch.tensor([3.0, 1.0, 3.0])).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("memory_slots", 0, "memory_slots must be a whole number of at least 1, got 0"),
        ("profile_write_rate", 1.5, "profile_write_rate must be a number from 0 to 1, got 1.5"),
        ("gradient_write_rate", -0.1, "gradient_write_rate must be a number from 0 to 1"),
        ("preference_write_rate", "x", "preference_write_rate must be a number"),
        ("bias_strength", -1, "bias_strength must be a number of at least 0, got -1"),
        ("write_rule", "last", "write_rule must be one of mean, sequential; got 'last'"),
        ("head", "ordinal", "head must be one of regression, classes; got 'ordinal'"),
        ("head", "classes", "head: classes needs inner_solver: gradient, got 'ridge'"),
        ("inner_batch_size", 0, "inner_batch_size must be all or a whole number of at least 1"),
        ("inner_optimizer", "lion", "inner_optimizer must be one of sgd, adam; got 'lion'"),
        ("task_memory", 1, "task_memory must be True or False, got 1"),
        ("memory_slot", 3, "Did you mean memory_slots"),
    ],
)
def test_a_value_out_of_range_is_named_before_any_data_is_loaded(
    key: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run_recbole("MAMO", "no-such-data", None, {key: value})
