"""Loading the model and the data of a checkpoint, on the device that this machine has."""

from __future__ import annotations

from logging import getLogger
from pathlib import Path

import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, init_logger, init_seed

from recbole_ext.runs.safe_file import load_checkpoint


def load_run(model_file: str | Path) -> tuple:
    """Do the same as RecBole's ``load_data_and_model``, without its quick start, which imports Ray.

    RecBole's function needs the device of the training: a GPU's checkpoint does not load on a
    machine without one.

    Args:
        model_file: a checkpoint of any model.

    Returns:
        config, model, dataset, train_data, valid_data, test_data.
    """
    checkpoint = load_checkpoint(model_file, "cpu")
    config = checkpoint["config"]
    config["device"] = device = device_here(config["device"])
    if device.type != "cpu":  # what a model keeps besides its layers belongs there, too
        checkpoint = load_checkpoint(model_file, device)
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    getLogger().info(config)
    dataset = create_dataset(config)
    getLogger().info(dataset)
    parts = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, parts[0]._dataset).to(device)
    model.load_state_dict(checkpoint["state_dict"])
    model.load_other_parameter(checkpoint.get("other_parameter"))
    return config, model, dataset, *parts


def device_here(device: torch.device) -> torch.device:
    """The device of a training, or the CPU on a machine that lacks this GPU."""
    lacks = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    return torch.device("cpu") if lacks else device
