from __future__ import annotations

import copy
import logging
import os
import random
import stat
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.trainer import Trainer

import recbole_ext
from recbole_ext import checkpoint
from recbole_ext.quick_start import PluginSettings
from recbole_ext.random_state import capture_random_state, restore_random_state
from tests.helpers import QUICK, Run, small_world
from tests.test_seams import original


@pytest.fixture
def world(write_dataset: Callable[..., str]) -> dict[str, Any]:
    path = write_dataset(small_world())
    return {
        "dataset": "world",
        "data_path": path,
        "load_col": {"inter": "*"},
        "embedding_size": 8,
        "train_batch_size": 32,
        "learning_rate": 0.01,
        "stopping_step": 100,
    }


safe_loading = pytest.mark.skipif(
    not hasattr(torch.serialization, "add_safe_globals"),
    reason="torch before 2.4 cannot be told which classes are safe",
)


def same(one: Any, other: Any) -> bool:
    """Bit for bit, through dictionaries and lists."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


LAMBDA = {"lambda_granularity": "dimension+user+item", "lambda_learning_rate": 0.01}


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("LambdaOptMF", LAMBDA),
        ("LambdaOptMF", {**LAMBDA, "learner": "sparse_adam", "lambda_source": "valid"}),
        ("LambdaOptMF", {**LAMBDA, "lambda_learner": "adam", "lambda_update_interval": 3}),
        ("LambdaOptMF", {**LAMBDA, "meta_gradient": "higher", "lookahead_steps": 2}),
        ("LambdaOptMF", {"regularizer": "fixed", "reg_weight": 0.01}),
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

    assert second.trainer.start_epoch == 3
    assert not same(first.state(), whole.state())
    assert same(second.state(), whole.state())
    for name, optimizer in checkpoint._optimizers(whole.trainer).items():
        assert same(optimizer.state_dict(), getattr(second.trainer, name).state_dict())
    state = capture_random_state(second.trainer.train_generator)
    assert same(state, capture_random_state(whole.trainer.train_generator))
    assert second.test() == whole.test()


def test_early_stopping_goes_on_where_it_was(world: dict[str, Any]) -> None:
    settings = {**world, **LAMBDA, "stopping_step": 3, "learning_rate": 0.05}
    whole = Run(**{**settings, "epochs": 40}).fit()
    file = whole.trainer.saved_model_file
    saved = checkpoint.load_checkpoint(file)
    assert saved["epoch"] < 39  # the best epoch is not the last
    second = Run(**{**settings, "epochs": 40, "resume_file": file}).fit()
    assert second.trainer.best_valid_score == whole.trainer.best_valid_score
    assert second.trainer.best_valid_result == whole.trainer.best_valid_result
    assert same(second.state(), whole.state())


def test_resuming_a_finished_run_keeps_its_epoch(world: dict[str, Any]) -> None:
    file = Run(**{**world, "epochs": 2}).fit(valid=False).trainer.saved_model_file
    Run(**{**world, "epochs": 2, "resume_file": file}).fit(valid=False)
    assert checkpoint.load_checkpoint(file)["epoch"] == 1


def test_lambda_and_its_optimizer_are_in_the_checkpoint(world: dict[str, Any]) -> None:
    run = Run(**{**world, **LAMBDA}).fit(valid=False)
    saved = checkpoint.load_checkpoint(run.trainer.saved_model_file)
    assert torch.equal(
        saved["state_dict"]["lambda_network.tables.user"], run.model.lambda_network.tables["user"]
    )
    moments = saved["other_optimizers"]["lambda_optimizer"]["state"]
    assert all(state["exp_avg_sq"].sum() > 0 for state in moments.values())
    main = saved["optimizer"]["param_groups"][0]["params"]
    assert len(main) == 2  # users and items: no λ


@safe_loading
def test_a_checkpoint_loads_with_torchs_safe_loading(world: dict[str, Any]) -> None:
    run = Run(**{**world, "epochs": np.int64(1), "learning_rate": np.float64(0.01)}).fit()
    saved = torch.load(run.trainer.saved_model_file, weights_only=True)
    assert type(saved["best_valid_score"]) is float
    assert type(saved["config"]["learning_rate"]) is float
    assert saved["config"]["model"] == "LambdaOptMF"


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
def test_stock_recbole_cannot_reload_its_own_checkpoint(world: dict[str, Any]) -> None:
    """Why ours stands in for it; should this fail, RecBole or torch has changed."""
    run = Run("BPR", **world)
    original(Trainer._save_checkpoint)(run.trainer, 0)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(run.trainer.saved_model_file, weights_only=True)


@safe_loading
@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
def test_an_old_checkpoint_is_converted_on_request(world: dict[str, Any], tmp_path: Path) -> None:
    run = Run("BPR", **world)
    original(Trainer._save_checkpoint)(run.trainer, 0, verbose=False)
    old, new = run.trainer.saved_model_file, tmp_path / "new.pth"
    with pytest.raises(ValueError, match=r"cannot be read.*convert_trusted_checkpoint"):
        checkpoint.load_checkpoint(old)
    checkpoint.convert_trusted_checkpoint(old, new)
    assert same(checkpoint.load_checkpoint(new)["state_dict"], run.state())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pth"
    checkpoint.write_atomically({"epoch": 1}, path)
    before = path.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_atomically({"epoch": 2}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".x.pth*")) == []


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


def test_foreign_files_are_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.pth"
    text.write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"notes\.pth cannot be read"):
        checkpoint.load_checkpoint(text)
    weights = tmp_path / "weights.pth"
    torch.save({"layer": torch.zeros(2)}, weights)
    with pytest.raises(ValueError, match=r"weights\.pth is no RecBole checkpoint: it has no c"):
        checkpoint.load_checkpoint(weights)
    with pytest.raises(FileNotFoundError, match=r"gone\.pth does not exist"):
        checkpoint.load_checkpoint(tmp_path / "gone.pth")


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
        ({}, {"learner": "sparse_adam"}, "with learner: adam, this run has learner: sparse_adam"),
        (
            {},
            {"lambda_learner": "adam"},
            "lambda_learner: sparse_adam, this run has lambda_l",
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


def test_any_plain_setting_can_be_saved(world: dict[str, Any]) -> None:
    given = PluginSettings({**world, "data_path": Path(world["data_path"])})
    result = recbole_ext.run_recbole("BPR", config_dict=PluginSettings({**given, **QUICK}))
    config, *_ = recbole_ext.load_data_and_model(result["checkpoint"])
    assert config["data_path"] == str(Path(world["data_path"]) / "world")


def test_containers_that_recboles_models_keep_can_be_saved(tmp_path: Path) -> None:
    ripples = defaultdict(list, {1: [(torch.zeros(2), torch.ones(2))]})  # RippleNet's
    model = torch.nn.Module()
    model.other_parameter = lambda: {"ripple_set": ripples, "layer": torch.nn.Linear(1, 1)}
    path = tmp_path / "x.pth"
    checkpoint.write_atomically(checkpoint._other_parameters(model), path)
    loaded = torch.load(path)
    assert list(loaded) == ["ripple_set"]  # a layer is in the state_dict already
    assert loaded["ripple_set"][1][0][1].tolist() == [1, 1]


@safe_loading
def test_what_could_not_be_read_is_not_written(world: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    checkpoint.write_atomically({"epoch": 1}, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"would hold fractions\.Fraction, which torch does not"):
        checkpoint.write_atomically({"epoch": Fraction(1, 2)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".x.pth*")) == []


def test_the_umask_is_honoured(tmp_path: Path) -> None:
    path, before = tmp_path / "x.pth", os.umask(0o077)
    try:
        checkpoint.write_atomically({"epoch": 1}, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_generator_comes_back() -> None:
    generator = torch.Generator()

    def draw() -> list[float]:
        numbers = [random.random(), np.random.random(), torch.rand(()).item()]
        return [*numbers, np.random.normal(), torch.rand((), generator=generator).item()]

    np.random.normal()  # leaves a cached second normal behind
    state = capture_random_state(generator)
    first = draw()
    assert draw() != first
    restore_random_state(state, generator)
    assert draw() == first
