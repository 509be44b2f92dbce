from __future__ import annotations

import os
import stat
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.trainer import Trainer

import recbole_ext
from recbole_ext.quick_start import PluginSettings
from recbole_ext.runs import checkpoint
from tests.worlds.helpers import LAMBDA, QUICK, Run, original, safe_loading, same


@pytest.fixture
def world(world: dict[str, Any]) -> dict[str, Any]:
    return {**world, "lambda_source": "holdout"}  # needs no validation set


def test_lambda_and_its_optimizer_are_in_the_checkpoint(world: dict[str, Any]) -> None:
    run = Run(**{**world, **LAMBDA}).fit(valid=False)
    saved = checkpoint.load_checkpoint(run.trainer.saved_model_file)
    assert same(saved["modules"]["lambda_network"]["tables.user"], run.strengths()["user"])
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


def test_a_gpus_checkpoint_loads_without_one(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = recbole_ext.run_recbole("LightGCN", config_dict={**world, **QUICK, "n_layers": 1})
    expected = recbole_ext.load_data_and_model(result["checkpoint"])[1]
    state = checkpoint.load_checkpoint(result["checkpoint"])
    state["config"]["device"] = torch.device("cuda", 0)
    with monkeypatch.context() as on_a_gpu:
        on_a_gpu.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        checkpoint.write_atomically(state, "gpu.pth")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    config, model, *_ = recbole_ext.load_data_and_model("gpu.pth")
    assert config["device"] == model.device == torch.device("cpu")
    assert all(
        torch.equal(value, model.state_dict()[k]) for k, value in expected.state_dict().items()
    )
