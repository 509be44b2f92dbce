"""A run that is interrupted ends like one that is not; a file that does not fit changes nothing."""

from __future__ import annotations

import copy
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_ext.runs import checkpoint
from recbole_ext.runs.random_state import capture_random_state, restore_random_state
from tests.worlds.helpers import LAMBDA, Run, same


@pytest.fixture
def world(world: dict[str, Any]) -> dict[str, Any]:
    return {**world, "lambda_source": "holdout"}  # needs no validation set


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("LambdaOptMF", LAMBDA),
        ("LambdaOptMF", {**LAMBDA, "learner": "sparse_adam", "lambda_source": "valid"}),
        ("LambdaOptMF", {**LAMBDA, "lambda_learner": "adam", "lambda_update_interval": 3}),
        ("LambdaOptMF", {**LAMBDA, "meta_gradient": "higher", "lookahead_steps": 2}),
        ("LambdaOptMF", {"lambda_epochs": 2, "lambda_steps": 0}),  # 3 epochs end in the last fit
        ("LambdaOptMF", {"lambda_epochs": 0, "lambda_warmup_steps": 2}),
        ("LambdaOptMF", {"lambda_epochs": 0, "lambda_warmup_steps": 2, "softmax_items": 4}),
        ("LambdaOptMF", {"loss": "bpr", "lambda_learning_rate": 1e-3}),
        ("LambdaOptMF", {"loss": "bpr", "lambda_granularity": "double-global", "learner": "sgd"}),
        ("LambdaOptMF", {"regularizer": "fixed", "reg_weight": 0.01}),
        (
            "LambdaOptMF",
            {"regularizer": "frequency", "reg_weight": 0.01, "frequency_exponent": -1.0},
        ),
        ("BPR", {}),
        ("LightGCN", {}),
    ],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    world: dict[str, Any], model: str, settings: dict[str, Any]
) -> None:
    settings = {**settings, "eval_step": 0}  # saves every epoch, not the best one only
    whole = Run(model, **{**world, **settings, "epochs": 6}).fit()
    first = Run(model, **{**world, **settings, "epochs": 3}).fit()
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    file = first.trainer.saved_model_file
    second = Run(model, **{**world, **settings, "epochs": 6, "resume_file": file}).fit()

    assert second.trainer.start_epoch == first.trainer.epochs
    assert checkpoint.load_checkpoint(file)["config"]["resume_file"] is None
    assert not same(first.state(), whole.state())
    assert same(second.state(), whole.state())
    for name, optimizer in checkpoint.optimizers_of(whole.trainer).items():
        assert same(optimizer.state_dict(), getattr(second.trainer, name).state_dict())
    state = capture_random_state(second.trainer.run_state.generators)
    assert same(state, capture_random_state(whole.trainer.run_state.generators))
    assert second.test() == whole.test()


def test_early_stopping_goes_on_where_it_was(world: dict[str, Any]) -> None:
    settings = {**world, **LAMBDA, "stopping_step": 3, "learning_rate": 0.05}
    whole = Run(**{**settings, "epochs": 40}).fit()
    file = whole.trainer.saved_model_file
    saved = checkpoint.load_checkpoint(file)
    assert saved["epoch"] < 39  # the best epoch is not the last
    with pytest.raises(ValueError, match=r"its run went on to epoch \d+: resume from .*-last\.pth"):
        Run(**{**settings, "epochs": 40, "resume_file": file}).fit()
    checkpoint.last_file(file).unlink()
    second = Run(**{**settings, "epochs": 40, "resume_file": file}).fit()
    assert second.trainer.best_valid_score == whole.trainer.best_valid_score
    assert second.trainer.best_valid_result == whole.trainer.best_valid_result
    assert same(second.state(), whole.state())


def test_resuming_a_finished_run_keeps_its_epoch(world: dict[str, Any]) -> None:
    file = Run(**{**world, "epochs": 2}).fit(valid=False).trainer.saved_model_file
    Run(**{**world, "epochs": 2, "resume_file": file}).fit(valid=False)
    assert checkpoint.load_checkpoint(file)["epoch"] == 1


def test_the_last_state_goes_on_to_the_same_best_epoch(world: dict[str, Any]) -> None:
    settings = {**world, **LAMBDA, "stopping_step": 6, "learning_rate": 0.05}
    whole = Run(**{**settings, "epochs": 9}).fit()
    first = Run(**{**settings, "epochs": 6}).fit()
    last = checkpoint.last_file(first.trainer.saved_model_file)
    assert checkpoint.load_checkpoint(last)["epoch"] == 5
    second = Run(**{**settings, "epochs": 9, "resume_file": str(last)}).fit()
    assert second.trainer.start_epoch == 6
    assert second.trainer.saved_model_file == first.trainer.saved_model_file
    assert second.trainer.best_valid_result == whole.trainer.best_valid_result
    assert same(second.state(), whole.state())
    ends = [checkpoint.load_checkpoint(run.trainer.saved_model_file) for run in (whole, second)]
    assert ends[0]["epoch"] == ends[1]["epoch"] < 8
    assert same(ends[0]["state_dict"], ends[1]["state_dict"])


def test_a_run_that_early_stopping_ended_is_not_trained_on(world: dict[str, Any]) -> None:
    settings = {**world, **LAMBDA, "stopping_step": 2, "learning_rate": 0.05, "epochs": 40}
    ended = Run(**settings).fit()
    best = Path(ended.trainer.saved_model_file)
    before = best.read_bytes()
    again = Run(**{**settings, "resume_file": str(checkpoint.last_file(best))})
    assert again.trainer.fit(again.data[0], again.data[1], verbose=False) == (
        ended.trainer.best_valid_score,
        ended.trainer.best_valid_result,
    )
    assert again.trainer.train_loss_dict == {}
    assert best.read_bytes() == before


def test_a_last_state_without_its_best_epoch_changes_nothing(
    world: dict[str, Any], tmp_path: Path
) -> None:
    run = Run(**world).fit()
    last = checkpoint.last_file(run.trainer.saved_model_file)
    moved = last.rename(tmp_path / "moved.pth")
    other = Run(**world)
    before, path = other.state(), other.trainer.saved_model_file
    with pytest.raises(FileNotFoundError, match=r"moved\.pth is the last state of a run whose"):
        other.trainer.resume_checkpoint(moved)
    assert same(other.state(), before)
    assert other.trainer.saved_model_file == path


@pytest.mark.parametrize(("step", "epoch"), [(0, None), (1, 4), (2, 3), (9, None)])
def test_the_last_state_is_kept_every_so_many_validations(
    world: dict[str, Any], step: int, epoch: int | None
) -> None:
    run = Run(**{**world, "epochs": 5, "save_last_step": step}).fit()
    last = checkpoint.last_file(run.trainer.saved_model_file)
    kept = checkpoint.load_checkpoint(last)["epoch"] if last.is_file() else None
    assert kept == epoch


def test_what_a_killed_process_left_half_written_goes_when_the_run_goes_on(
    world: dict[str, Any],
) -> None:
    file = Path(Run(**world).fit().trainer.saved_model_file)
    names = [file.name, checkpoint.last_file(file).name, "another.pth"]
    left = [file.with_name(f".{name}.x1y2") for name in names]
    for path in left:
        path.write_bytes(b"half")
    Run(**world).trainer.resume_checkpoint(checkpoint.last_file(file))
    assert [path.is_file() for path in left] == [False, False, True]


def test_a_score_that_is_no_number_ends_the_run(world: dict[str, Any]) -> None:
    run = Run("BPR", **world)
    run.trainer.evaluate = lambda *_, **__: {"mrr@10": float("nan")}
    with pytest.raises(ValueError, match="validation's mrr@10 is nan: lower learning_rate"):
        run.fit()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(
    world: dict[str, Any], tmp_path: Path, share: float
) -> None:
    content = Path(Run(**world).fit(valid=False).trainer.saved_model_file).read_bytes()
    broken = tmp_path / "broken.pth"
    broken.write_bytes(content[: int(len(content) * share)])
    run = Run(**{**world, "resume_file": str(broken)})
    before = run.state()
    with pytest.raises(ValueError, match=r"broken\.pth cannot be read: it is truncated"):
        run.fit(valid=False)
    assert same(run.state(), before)


def test_a_checkpoint_that_does_not_fit_changes_nothing(world: dict[str, Any]) -> None:
    file = Run(**world).fit(valid=False).trainer.saved_model_file
    other = Run("BPR", **world)
    with pytest.raises(ValueError, match="with model: LambdaOptMF, this run has model: BPR"):
        other.trainer.resume_checkpoint(file)
    wider = Run(**{**world, "embedding_size": 9})
    before = wider.state()
    with pytest.raises(ValueError, match=r"user_embedding\.weight: \(21, 8\) instead of \(21, 9\)"):
        wider.trainer.resume_checkpoint(file)
    assert same(wider.state(), before)
    assert wider.trainer.start_epoch == 0


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"learner": "sgd"}, "with learner: adam, this run has learner: sgd"),
        (
            LAMBDA,
            {"learner": "sparse_adam"},
            "with learner: adam, this run has learner: sparse_adam",
        ),
        (
            {},
            {"lambda_learner": "sgd"},
            "lambda_learner: adam, this run has lambda_l",
        ),
        ({"lambda_granularity": "global"}, {"regularizer": "fixed"}, "regularizer: lambda_opt"),
    ],
)
def test_resuming_with_other_settings_changes_nothing(
    world: dict[str, Any], first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    file = Run(**{**world, **first}).fit(valid=False).trainer.saved_model_file
    other = Run(**{**world, **first, **second})
    before, optimizer = other.state(), copy.deepcopy(other.trainer.optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        other.trainer.resume_checkpoint(file)
    assert same(other.state(), before)
    assert same(other.trainer.optimizer.state_dict(), optimizer)
    assert other.trainer.start_epoch == 0


def test_a_new_learning_rate_is_not_taken_in_silence(
    world: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    file = Run(**world).fit(valid=False).trainer.saved_model_file
    other = Run(**{**world, "learning_rate": 0.5})
    with caplog.at_level(logging.WARNING):
        other.trainer.resume_checkpoint(file)
    assert "learning_rate stays 0.01" in caplog.text


@pytest.mark.parametrize("key", ["cur_step", "best_valid_score", "optimizer", "other_optimizers"])
def test_a_checkpoint_that_lacks_something_changes_nothing(
    world: dict[str, Any], tmp_path: Path, key: str
) -> None:
    saved = checkpoint.load_checkpoint(Run(**world).fit(valid=False).trainer.saved_model_file)
    del saved[key]
    checkpoint.write_atomically(saved, tmp_path / "less.pth")
    other = Run(**world)
    before, path = other.state(), other.trainer.saved_model_file
    with pytest.raises(ValueError, match=r"less\.pth cannot be resumed: it has no"):
        other.trainer.resume_checkpoint(tmp_path / "less.pth")
    assert same(other.state(), before)
    assert other.trainer.saved_model_file == path


def test_every_generator_comes_back() -> None:
    generator = torch.Generator()

    def draw() -> list[float]:
        numbers = [random.random(), np.random.random(), torch.rand(()).item()]
        return [*numbers, np.random.normal(), torch.rand((), generator=generator).item()]

    np.random.normal()  # leaves a cached second normal behind
    state = capture_random_state({"": generator})
    first = draw()
    assert draw() != first
    restore_random_state(state, {"": generator})
    assert draw() == first
