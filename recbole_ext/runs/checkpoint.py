"""Checkpoints: written atomically, read safely, and complete enough to resume to the same result.

A run has two. ``X.pth`` holds its best epoch, as in RecBole. ``X-last.pth`` holds its state after
the last validation, from which a killed run is resumed. Each contains RecBole's own dictionary, so
that RecBole can read it, and also every optimiser, the random state and the early-stopping state.
The files use pickle protocol 2 and hold only classes that ``safe_file.py`` names, because
``torch.load`` reads nothing else in its safe mode.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole.trainer import Trainer
from recbole.utils import set_color
from torch import nn
from torch.optim import Optimizer

from recbole_ext.processes.group import group, is_first
from recbole_ext.runs.atomic_file import replacing
from recbole_ext.runs.machine import machine
from recbole_ext.runs.model_attributes import capture_attributes
from recbole_ext.runs.not_a_number import check_score
from recbole_ext.runs.random_state import capture_random_state
from recbole_ext.runs.safe_file import (
    convert_trusted_checkpoint,
    load_checkpoint,
    plain,
    portable_config,
    trust,
    write_atomically,
)
from recbole_ext.runs.whole_state import (
    is_spread,
    owners_by_parameter,
    whole_module,
    whole_optimizer,
)

__all__ = [
    "convert_trusted_checkpoint",
    "last_file",
    "load_checkpoint",
    "replacing",
    "save_checkpoint",
    "trust",
    "write_atomically",
]


def save_checkpoint(trainer: Trainer, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
    """Write a trainer's checkpoint; replaces RecBole's ``Trainer._save_checkpoint``.

    It is that of one process. Where tables are spread, the first process holds all of it meanwhile.

    Args:
        trainer: any RecBole trainer.
        epoch: the epoch just finished.
        verbose: whether to log the path.
        **kwargs: ``saved_model_file``, a path in place of the trainer's.

    Raises:
        OSError: if the file cannot be written; the error names it, and the old file is unchanged.
    """
    path = kwargs.pop("saved_model_file", trainer.saved_model_file)
    first = _is_first_process(trainer)
    # RecBole saves epoch −1 if no epoch is left. A resumed run has its best epoch saved already.
    if (epoch >= 0 or trainer.start_epoch == 0) and _takes_part(trainer):
        # RecBole saves the best epoch before it stores the best result.
        result = trainer.run_state.latest_valid_result or trainer.best_valid_result
        state = _state(trainer, epoch, result)
        if first:
            write_atomically(state, path)
        if first and verbose:
            trainer.logger.info(set_color("Saving current", "blue") + f": {path}")
    if first:
        trainer.run_state.saved_best(str(path))
    else:
        trainer.run_state.checkpoint = str(path)


def last_file(checkpoint: str | Path) -> Path:
    """The file for the last state of the run that writes this checkpoint."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-last.pth")


def noting_validations(valid_epoch: Callable) -> Callable:
    """Wrap ``Trainer._valid_epoch``: check its score, and store its result in the run's state.

    The result goes into the checkpoint of the best epoch, which RecBole saves before it stores the
    best result, and into the learning curve. The state also says that a validation is under way,
    so that reports on tests leave it out.
    """

    def valid_epoch_with_memory(trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        state = trainer.run_state
        state.validating = True
        try:
            score, result = valid_epoch(trainer, *args, **kwargs)
        finally:
            state.validating = False
        state.latest_valid_result = result
        epoch = max(trainer.train_loss_dict, default=-1)
        loss = trainer.train_loss_dict.get(epoch)
        check_score(trainer, score)
        state.validated(epoch, plain(loss), float(score), plain(dict(result)))
        return score, result

    return valid_epoch_with_memory


def save_last(trainer: Trainer, epoch: int) -> None:
    """Write the last state after every ``save_last_step``-th validation; 0 turns this off."""
    step = trainer.config["save_last_step"]
    step = 1 if step is None else step
    if step == 0 or (epoch + 1) // trainer.eval_step % step or not _takes_part(trainer):
        return
    best = Path(trainer.saved_model_file)
    path = last_file(best)
    state = _state(trainer, epoch, trainer.best_valid_result)
    if _is_first_process(trainer):
        write_atomically({**state, "best_file": best.name}, path)
        trainer.run_state.saved_last(str(path))


def _is_first_process(trainer: Trainer) -> bool:
    return is_first() and (trainer.config["single_spec"] or trainer.config["local_rank"] == 0)


def _takes_part(trainer: Trainer) -> bool:
    """Whether this process has a part of the state that is saved."""
    return _is_first_process(trainer) or is_spread(trainer.model)


def states_of(trainer: Trainer) -> dict[str, dict[str, Any]]:
    """What training changes, whole in the first process: ``model``, ``modules``, ``optimizers``.

    All processes call it where tables are spread.
    """
    modules = modules_of(trainer)
    owners = owners_by_parameter([trainer.model, *modules.values()])
    optimizers = optimizers_of(trainer).items()
    return {
        "model": whole_module(trainer.model),
        "modules": {name: whole_module(module) for name, module in modules.items()},
        "optimizers": {name: whole_optimizer(value, owners) for name, value in optimizers},
    }


def _state(trainer: Trainer, epoch: int, best_valid_result: Any) -> dict[str, Any]:
    states = states_of(trainer)
    optimizers = states["optimizers"]
    progress = {
        "epoch": epoch,
        "cur_step": trainer.cur_step,
        "best_valid_score": trainer.best_valid_score,
        "best_valid_result": best_valid_result,
    }
    return {
        **plain(progress),
        "config": portable_config(trainer.config),
        "state_dict": states["model"],
        "other_parameter": _other_parameters(trainer.model),
        "optimizer": optimizers.pop("optimizer", None),
        "other_optimizers": optimizers,
        "optimizer_aliases": _aliases(trainer),
        "modules": states["modules"],
        "attributes": plain(capture_attributes(trainer.model)),
        "random_state": capture_random_state(trainer.run_state.generators),
        "machine": machine(),
        "processes": group().size,
    }


def _other_parameters(model: Any) -> dict[str, Any]:
    """RecBole's other parameters without layers (SASRecF, DIN), which the state_dict holds."""
    listed = model.other_parameter()
    return plain({key: v for key, v in listed.items() if not isinstance(v, nn.Module)})


def optimizers_of(trainer: Trainer) -> dict[str, Optimizer]:
    """Every optimiser that a trainer keeps as an attribute, by the attribute's name."""
    return {name: value for name, value in vars(trainer).items() if isinstance(value, Optimizer)}


def _aliases(trainer: Trainer) -> dict[str, str]:
    """Attributes that hold the same optimiser as another attribute, each with the other's name."""
    named = optimizers_of(trainer)
    return {
        name: other
        for at, name in enumerate(named)
        for other in list(named)[at + 1 :]
        if named[name] is named[other]
    }


def modules_of(trainer: Trainer) -> dict[str, nn.Module]:
    """Every module that a trainer has besides the model, such as λ, by the attribute's name."""
    kept = vars(trainer).items()
    return {k: v for k, v in kept if isinstance(v, nn.Module) and v is not trainer.model}
