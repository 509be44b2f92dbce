"""Every place where the plugin meets RecBole: if a release moves one, its test says which."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import recbole
import recbole.data.dataset
import recbole.trainer
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import TrainDataLoader
from recbole.model.general_recommender import BPR
from recbole.utils import ModelType, get_model, get_trainer

from recbole_ext.seams import install
from tests.worlds.helpers import QUICK, Run, original


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(original(function)).parameters)


def test_recbole_is_the_release_the_seams_were_tried_on() -> None:
    assert recbole.__version__ == "1.2.1"


def test_get_model_finds_a_module_put_into_sys_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("seam")
    name = "recbole.model.general_recommender.seam"
    module.__spec__ = ModuleSpec(name, loader=None)
    module.Seam = BPR
    monkeypatch.setitem(sys.modules, name, module)
    assert get_model("Seam") is BPR


def test_get_trainer_looks_for_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    marker = type("Marker", (), {})
    monkeypatch.setattr(recbole.trainer, "SeamTrainer", marker, raising=False)
    assert get_trainer(ModelType.GENERAL, "Seam") is marker


def test_create_dataset_looks_for_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    class Marker:
        def __init__(self, config: Config) -> None:
            self.config = config

    monkeypatch.setattr(recbole.data.dataset, "BPRDataset", Marker, raising=False)
    assert isinstance(create_dataset(Config("BPR", "ml-100k", config_dict=dict(QUICK))), Marker)


def test_config_loads_its_yaml_in_one_method() -> None:
    assert parameters(Config._load_internal_config_dict) == [
        "self",
        "model",
        "model_class",
        "dataset",
    ]
    assert parameters(Config._update_internal_config_dict) == ["self", "file"]
    assert parameters(Config._get_model_and_dataset) == ["self", "model", "dataset"]


def test_config_reads_1e_minus_3_as_a_number(tmp_path: Path) -> None:
    config = Config("BPR", "ml-100k", config_dict=dict(QUICK))
    file = tmp_path / "x.yaml"
    file.write_text("value: 1e-3\n")
    assert config._update_internal_config_dict(file) == {"value": 0.001}


def test_config_reads_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--epochs=7"])
    assert Config("BPR", "ml-100k")["epochs"] == 7


def test_metrics_of_what_is_counted(world: dict[str, Any]) -> None:
    """RecBole 1.2.1 fails on each of the four; the plugin mends it."""
    names = ["Recall", "ItemCoverage", "GiniIndex", "AveragePopularity", "TailPercentage"]
    run = Run("Pop", **world, metrics=names, topk=[2], valid_metric="Recall@2", epochs=1).fit()
    found = run.test()
    items = run.data[0]._dataset.item_num - 1
    shown = round(found["itemcoverage@2"] * (items + 1))  # RecBole counts the padding item, too
    assert 2 <= shown <= items
    assert found == run.test()
    assert found["averagepopularity@2"] > 0
    assert 0 < found["giniindex@2"] < 1
    assert 0 <= found["tailpercentage@2"] <= 1


def test_trainer_methods_that_are_replaced_or_called() -> None:
    trainer = recbole.trainer.Trainer
    assert parameters(trainer._save_checkpoint) == ["self", "epoch", "verbose", "kwargs"]
    assert parameters(trainer.resume_checkpoint) == ["self", "resume_file"]
    assert parameters(trainer.fit) == [
        "self",
        "train_data",
        "valid_data",
        "verbose",
        "saved",
        "show_progress",
        "callback_fn",
    ]
    assert parameters(trainer.evaluate)[:2] == ["self", "eval_data"]
    assert parameters(trainer._valid_epoch)[:2] == ["self", "valid_data"]
    assert parameters(trainer._build_optimizer) == ["self", "kwargs"]
    assert parameters(trainer._train_epoch) == [
        "self",
        "train_data",
        "epoch_idx",
        "loss_func",
        "show_progress",
    ]
    assert "epoch_idx" in parameters(trainer._generate_train_loss_output)
    assert parameters(trainer._check_nan) == ["self", "loss"]


def test_train_epoch_takes_any_iterable_and_a_loss_function() -> None:
    """The λ step rides on ``loss_func``, and the progress bar on the iterable."""
    run = Run("BPR")
    seen: list[int] = []

    def loss(interaction: Any) -> torch.Tensor:
        seen.append(len(interaction))
        return run.model.calculate_loss(interaction)

    recbole.trainer.Trainer._train_epoch(run.trainer, iter(run.data[0]), 0, loss_func=loss)
    assert sum(seen) == len(run.data[0]._dataset)


def test_build_optimizer_takes_parameters_learner_and_rate() -> None:
    run = Run("BPR")
    parameter = torch.nn.Parameter(torch.zeros(2))
    made = run.trainer._build_optimizer(params=[parameter], learner="sgd", learning_rate=0.5)
    assert isinstance(made, torch.optim.SGD)
    assert made.param_groups[0]["params"][0] is parameter
    assert made.param_groups[0]["lr"] == 0.5


def test_loaders_hold_dataset_sampler_and_generator() -> None:
    run = Run("BPR")
    for loader in run.data:
        assert len(loader._dataset) > 0
        assert loader._sampler.used_ids.shape == (loader._dataset.user_num,)
        assert isinstance(loader.generator, torch.Generator)
    assert parameters(TrainDataLoader.__init__) == [
        "self",
        "config",
        "dataset",
        "sampler",
        "shuffle",
    ]


def test_download_is_one_method_of_the_dataset() -> None:
    assert parameters(recbole.data.dataset.Dataset._download) == ["self"]


def test_quick_start_has_the_functions_ours_call() -> None:
    quick_start = importlib.import_module("recbole.quick_start")
    shared = ["model", "dataset", "config_file_list", "config_dict", "saved"]
    assert parameters(quick_start.run_recbole) == [*shared, "queue"]
    launch = ["nproc", "world_size", "ip", "port", "group_offset"]
    assert parameters(quick_start.run) == [*shared, *launch]
    assert parameters(quick_start.load_data_and_model) == ["model_file"]
    assert parameters(quick_start.objective_function) == [
        "config_dict",
        "config_file_list",
        "saved",
    ]


def test_a_seam_that_moved_is_named() -> None:
    class Moved:
        pass

    with pytest.raises(RuntimeError, match=r"needs RecBole 1\.2\.1: its Moved\.fit is not there"):
        install._replace(Moved, "fit", lambda function: function)


def test_a_folder_that_another_process_makes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs that begin together: RecBole's ``ensure_dir`` looks first and makes it then."""
    Path("log/BPR").mkdir(parents=True)
    for module in (recbole.utils.logger, recbole.trainer.trainer, recbole.data.utils):
        with monkeypatch.context() as patch:
            patch.setattr("os.path.exists", lambda _: False)
            module.ensure_dir("log/BPR")
            module.ensure_dir("log/new/one")
    assert Path("log/new/one").is_dir()


def test_installing_twice_wraps_once() -> None:
    before = recbole.trainer.Trainer.fit
    install.install()
    assert recbole.trainer.Trainer.fit is before
