"""Checkpoints: written atomically, read safely, and complete enough to resume to the same result.

A checkpoint is RecBole's own dictionary (so RecBole reads it) and, beside it, every optimiser, the
random state and the early-stopping state. It is written with pickle protocol 2 and holds only
classes named below, because ``torch.load`` reads nothing else unless it is told to trust the file.
"""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.trainer import Trainer
from recbole.utils import set_color
from torch import nn
from torch.optim import Optimizer

from recbole_ext.machine import machine
from recbole_ext.random_state import capture_random_state, restore_random_state
from recbole_ext.recording import note_checkpoint, note_resumed, note_validation
from recbole_ext.safe_file import (
    convert_trusted_checkpoint,
    load_checkpoint,
    plain,
    portable_config,
    trust,
    write_atomically,
)

__all__ = [
    "convert_trusted_checkpoint",
    "load_checkpoint",
    "resume_checkpoint",
    "save_checkpoint",
    "trust",
    "write_atomically",
]

_TO_RESUME = ("epoch", "cur_step", "best_valid_score")
# Settings without which what a checkpoint holds does not fit the run.
_ALIKE = ("model", "dataset", "learner", "regularizer", "lambda_learner", "meta_gradient")


def save_checkpoint(trainer: Trainer, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
    """Write a trainer's checkpoint; takes the place of RecBole's ``Trainer._save_checkpoint``.

    Args:
        trainer: any RecBole trainer.
        epoch: the epoch just finished.
        verbose: whether to log the path.
        **kwargs: ``saved_model_file``, another path than the trainer's.
    """
    if not trainer.config["single_spec"] and trainer.config["local_rank"] != 0:
        return
    path = kwargs.pop("saved_model_file", trainer.saved_model_file)
    # RecBole saves epoch −1 where a resumed run has no epoch left; that would lose the count.
    epoch = max(epoch, trainer.start_epoch - 1)
    write_atomically(_state(trainer, epoch), path)
    note_checkpoint(str(path))
    if verbose:
        trainer.logger.info(set_color("Saving current", "blue") + f": {path}")


def resume_checkpoint(trainer: Trainer, resume_file: str | Path) -> None:
    """Take a trainer back to a checkpoint; in place of RecBole's ``Trainer.resume_checkpoint``.

    The random state comes back when ``fit`` begins. Nothing is changed if the file does not fit.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or of another model or size than the trainer's.
    """
    checkpoint = load_checkpoint(resume_file, trainer.device)
    _check_fits(checkpoint, trainer, resume_file)
    trainer.saved_model_file = str(resume_file)
    trainer.start_epoch = checkpoint["epoch"] + 1
    trainer.cur_step = checkpoint["cur_step"]
    trainer.best_valid_score = checkpoint["best_valid_score"]
    trainer.best_valid_result = checkpoint.get("best_valid_result")
    trainer.model.load_state_dict(checkpoint["state_dict"])
    trainer.model.load_other_parameter(checkpoint.get("other_parameter"))
    for name, optimizer in _optimizers(trainer).items():
        optimizer.load_state_dict(_optimizer_states(checkpoint)[name])
    for name, module in _modules(trainer).items():
        module.load_state_dict(checkpoint["modules"][name])
    trainer.resumed_random_state = checkpoint.get("random_state")
    if trainer.resumed_random_state is None:
        getLogger().warning(f"{resume_file} holds no random state: the run will not be the same")
    note_resumed(str(resume_file), checkpoint["epoch"])
    trainer.logger.info(f"Checkpoint loaded. Resume training from epoch {trainer.start_epoch}")


def resumable(fit: Callable) -> Callable:
    """Wrap ``Trainer.fit``: resume from ``config["resume_file"]``, and restore the random state."""

    def fit_from_checkpoint(trainer: Trainer, train_data: Any, *args: Any, **kwargs: Any) -> Any:
        trainer.train_generator = getattr(train_data, "generator", None)
        if trainer.config["resume_file"] and trainer.start_epoch == 0:
            trainer.resume_checkpoint(trainer.config["resume_file"])
        state = trainer.__dict__.pop("resumed_random_state", None)
        if state is not None:
            restore_random_state(state, trainer.train_generator)
        return fit(trainer, train_data, *args, **kwargs)

    return fit_from_checkpoint


def remembering_result(valid_epoch: Callable) -> Callable:
    """Wrap ``Trainer._valid_epoch``: keep its result for the checkpoint.

    RecBole saves the best epoch before it notes the best result.
    """

    def valid_epoch_with_memory(trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        trainer.validating = True
        try:
            score, trainer.latest_valid_result = valid_epoch(trainer, *args, **kwargs)
        finally:
            trainer.validating = False
        epoch = max(trainer.train_loss_dict, default=-1)
        loss = trainer.train_loss_dict.get(epoch)
        note_validation(epoch, plain(loss), float(score), plain(dict(trainer.latest_valid_result)))
        return score, trainer.latest_valid_result

    return valid_epoch_with_memory


def _state(trainer: Trainer, epoch: int) -> dict[str, Any]:
    optimizers = {name: opt.state_dict() for name, opt in _optimizers(trainer).items()}
    progress = {
        "epoch": epoch,
        "cur_step": trainer.cur_step,
        "best_valid_score": trainer.best_valid_score,
        "best_valid_result": getattr(trainer, "latest_valid_result", trainer.best_valid_result),
    }
    return {
        **plain(progress),
        "config": portable_config(trainer.config),
        "state_dict": trainer.model.state_dict(),
        "other_parameter": _other_parameters(trainer.model),
        "optimizer": optimizers.pop("optimizer", None),
        "other_optimizers": optimizers,
        "modules": {name: module.state_dict() for name, module in _modules(trainer).items()},
        "random_state": capture_random_state(getattr(trainer, "train_generator", None)),
        "machine": machine(),
    }


def _other_parameters(model: Any) -> dict[str, Any]:
    """RecBole's list, without layers (SASRecF, DIN): those are in the state_dict already."""
    listed = model.other_parameter()
    return plain({key: v for key, v in listed.items() if not isinstance(v, nn.Module)})


def _optimizers(trainer: Trainer) -> dict[str, Optimizer]:
    """Every optimiser that a trainer keeps as an attribute, by the attribute's name."""
    return {name: value for name, value in vars(trainer).items() if isinstance(value, Optimizer)}


def _modules(trainer: Trainer) -> dict[str, nn.Module]:
    """Every module that a trainer keeps besides the model (λ), by the attribute's name."""
    kept = vars(trainer).items()
    return {k: v for k, v in kept if isinstance(v, nn.Module) and v is not trainer.model}


def _optimizer_states(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return {"optimizer": checkpoint.get("optimizer"), **checkpoint.get("other_optimizers", {})}


def _check_fits(checkpoint: dict[str, Any], trainer: Trainer, path: str | Path) -> None:
    missing = [key for key in _TO_RESUME if key not in checkpoint]
    states = _optimizer_states(checkpoint)
    missing += [name for name in _optimizers(trainer) if not states.get(name)]
    missing += [name for name in _modules(trainer) if name not in checkpoint.get("modules", {})]
    if missing:
        raise ValueError(f"checkpoint {path} cannot be resumed: it has no {', '.join(missing)}")
    saved, config = checkpoint["config"], trainer.config
    for key in _ALIKE:
        if saved[key] != config[key]:
            raise ValueError(
                f"checkpoint {path} was trained with {key}: {saved[key]}, this run has {key}: "
                f"{config[key]}"
            )
    for key in ("learning_rate", "lambda_learning_rate", "weight_decay"):
        if saved[key] != config[key]:
            trainer.logger.warning(f"{key} stays {saved[key]} as in {path}, not {config[key]}")
    shapes = _shapes({"model": checkpoint["state_dict"], **checkpoint.get("modules", {})})
    wanted = {"model": trainer.model.state_dict()}
    wanted = _shapes(wanted | {k: v.state_dict() for k, v in _modules(trainer).items()})
    wrong = sorted(key for key in {*shapes, *wanted} if shapes.get(key) != wanted.get(key))
    if wrong:
        differences = "; ".join(f"{k}: {shapes.get(k)} instead of {wanted.get(k)}" for k in wrong)
        raise ValueError(
            f"checkpoint {path} is of another size than this run ({differences}): use the "
            "hyper-parameters that it was trained with"
        )


def _shapes(states: dict[str, dict[str, torch.Tensor]]) -> dict[str, tuple[int, ...]]:
    """The size of every tensor of some modules; the model's are named as in RecBole's files."""
    return {
        key if owner == "model" else f"{owner}.{key}": tuple(value.shape)
        for owner, state in states.items()
        for key, value in state.items()
    }
