"""Resuming an interrupted run, with the same result as without the interruption."""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.trainer import Trainer
from torch.optim import Optimizer

from recbole_ext.processes.alike import check_data
from recbole_ext.processes.group import from_first, group
from recbole_ext.runs.atomic_file import remove_unfinished
from recbole_ext.runs.checkpoint import last_file, modules_of, optimizers_of, save_last
from recbole_ext.runs.learning_curve import curve_file
from recbole_ext.runs.model_attributes import restore_attributes
from recbole_ext.runs.random_state import generators_of, restore_random_state
from recbole_ext.runs.safe_file import load_checkpoint
from recbole_ext.runs.whole_state import own_module, own_optimizer, owners_by_parameter

_NEEDED = ("epoch", "cur_step", "best_valid_score")
# A checkpoint fits a run only if these settings are the same in both.
_ALIKE = ("model", "dataset", "learner", "regularizer", "lambda_learner", "meta_gradient")


def resume_checkpoint(trainer: Trainer, resume_file: str | Path) -> None:
    """Restore a trainer from a checkpoint; replaces RecBole's ``Trainer.resume_checkpoint``.

    The random state is restored when ``fit`` begins. If the file does not fit, nothing is changed.

    Raises:
        FileNotFoundError: if there is no such file, or if it is a last state and the file of its
            best epoch is missing.
        ValueError: if the file is damaged, or if its model or sizes differ from the trainer's.
    """
    checkpoint = _own_part(resume_file, trainer)
    best = _best_file(checkpoint, Path(resume_file))
    _check_fits(checkpoint, trainer, resume_file)
    for name, optimizer in _own_optimizers(checkpoint, trainer).items():
        optimizer.load_state_dict(_optimizer_states(checkpoint)[name])
    for name, module in modules_of(trainer).items():
        module.load_state_dict(checkpoint["modules"][name])
    trainer.model.load_state_dict(checkpoint["state_dict"])
    trainer.model.load_other_parameter(checkpoint.get("other_parameter"))
    restore_attributes(trainer.model, checkpoint.get("attributes", {}))
    for name, other in _aliases(checkpoint).items():
        setattr(trainer, name, getattr(trainer, other))
    trainer.saved_model_file = str(best)
    trainer.start_epoch = checkpoint["epoch"] + 1
    trainer.cur_step = checkpoint["cur_step"]
    trainer.best_valid_score = checkpoint["best_valid_score"]
    trainer.best_valid_result = checkpoint.get("best_valid_result")
    trainer.run_state.random_state = _random_state(checkpoint, trainer, resume_file)
    for file in (best, last_file(best), curve_file(best)):
        remove_unfinished(file)
    trainer.run_state.resumed(str(best), checkpoint["epoch"])
    trainer.logger.info(f"Checkpoint loaded. Resume training from epoch {trainer.start_epoch}")
    before, now = checkpoint.get("processes", 1), group().size
    if before != now:
        trainer.logger.warning(
            f"{resume_file} was trained by {before} processes, and {now} go on: the "
            "result is the same up to rounding"
        )
    if trainer.cur_step > trainer.stopping_step:
        trainer.logger.info("It had ended by early stopping: nothing is left to train")
        trainer.start_epoch = max(trainer.start_epoch, trainer.epochs)


def resumable(fit: Callable) -> Callable:
    """Wrap ``Trainer.fit``: resume from ``config["resume_file"]``, and save the last state."""

    def fit_from_checkpoint(  # with RecBole's arguments
        trainer: Trainer,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], Any] | None = None,
    ) -> Any:
        state = trainer.run_state
        if group().size > 1:
            check_data(train_data._dataset)
            trainer.saved_model_file = from_first(lambda: trainer.saved_model_file)
        state.generators = generators_of(train_data)
        if trainer.config["resume_file"] and trainer.start_epoch == 0:
            trainer.resume_checkpoint(trainer.config["resume_file"])
        if state.random_state is not None:
            restore_random_state(state.random_state, state.generators)
            state.random_state = None

        def after_validation(epoch: int, score: float) -> None:
            if callback_fn:
                callback_fn(epoch, score)
            if saved:
                save_last(trainer, epoch)

        return fit(trainer, train_data, valid_data, verbose, saved, show_progress, after_validation)

    return fit_from_checkpoint


def check_resumable(trainer: type[Trainer], config: Config) -> None:
    """Refuse ``resume_file`` for RecBole's trainers that have their own training loop.

    Raises:
        ValueError: if this is such a trainer; the error names it.
    """
    theirs = [c for c in trainer.__mro__ if c.__module__ == Trainer.__module__]
    theirs = theirs[: theirs.index(Trainer)]
    loops = [c.__name__ for c in theirs if "fit" in vars(c)]
    if config["resume_file"] and loops and config["train_stage"] != "finetune":
        raise ValueError(
            f"resume_file: {config['resume_file']} cannot be resumed: {loops[0]} has a "
            "training loop of its own, which begins anew"
        )


def _best_file(checkpoint: dict[str, Any], path: Path) -> Path:
    """The file of the best epoch: for a last state the file beside it, otherwise ``path``."""
    name = checkpoint.get("best_file")
    if name is None:
        _check_nothing_later(checkpoint, path)
        return path
    best = path.with_name(Path(name).name)
    if not best.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} is the last state of a run whose best epoch, {best}, is not there: "
            "put it there"
        )
    return best


def _check_nothing_later(checkpoint: dict[str, Any], path: Path) -> None:
    """Refuse the file of a best epoch if the run went on after this epoch.

    A run that is resumed there would overwrite the last state and lose the epochs in between.
    """
    last = last_file(path)
    if not last.is_file():
        return
    epoch = load_checkpoint(last, "cpu")["epoch"]
    if epoch > checkpoint.get("epoch", epoch):
        raise ValueError(
            f"checkpoint {path} is of epoch {checkpoint['epoch']}, the best one, and its run went "
            f"on to epoch {epoch}: resume from {last}, or move that away"
        )


def _aliases(checkpoint: dict[str, Any]) -> dict[str, str]:
    """Second names of an optimiser, each with its first name (RecVAE, after its first epoch)."""
    return checkpoint.get("optimizer_aliases", {})


def _own_optimizers(checkpoint: dict[str, Any], trainer: Trainer) -> dict[str, Optimizer]:
    """A trainer's optimisers, without those that become second names of others."""
    named = optimizers_of(trainer)
    return {name: named[name] for name in named if name not in _aliases(checkpoint)}


def _random_state(checkpoint: dict[str, Any], trainer: Trainer, path: str | Path) -> Any:
    state = checkpoint.get("random_state")
    if state is None:
        getLogger().warning(f"{path} holds no random state: the run will not be the same")
    elif not trainer.config["single_spec"]:
        getLogger().warning("several processes draw anew: the run will not be the same")
        return None
    return state


def _optimizer_states(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return {"optimizer": checkpoint.get("optimizer"), **checkpoint.get("other_optimizers", {})}


def _own_part(path: str | Path, trainer: Trainer) -> dict[str, Any]:
    """A checkpoint with the rows that this process owns, where tables are spread."""
    modules, optimizers = modules_of(trainer), optimizers_of(trainer)
    owners = owners_by_parameter([trainer.model, *modules.values()])
    if not owners:
        return load_checkpoint(path, trainer.device)
    checkpoint = load_checkpoint(path, "cpu", mapped=True)
    states = _optimizer_states(checkpoint)
    own = {n: own_optimizer(o, owners, states[n]) for n, o in optimizers.items() if n in states}
    kept = checkpoint.get("modules", {})
    return {
        **checkpoint,
        "state_dict": own_module(trainer.model, checkpoint["state_dict"]),
        "modules": kept | {n: own_module(m, kept[n]) for n, m in modules.items() if n in kept},
        "optimizer": own.pop("optimizer", None),
        "other_optimizers": own,
    }


def _check_fits(checkpoint: dict[str, Any], trainer: Trainer, path: str | Path) -> None:
    missing = [key for key in _NEEDED if key not in checkpoint]
    states = _optimizer_states(checkpoint)
    own = _own_optimizers(checkpoint, trainer)
    missing += [name for name in own if not states.get(name)]
    missing += [name for name in modules_of(trainer) if name not in checkpoint.get("modules", {})]
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
    for name, optimizer in own.items():
        if _sizes(states[name]) != _sizes(optimizer.state_dict()):
            raise ValueError(f"checkpoint {path} has another {name} than this run")
    shapes = _shapes({"model": checkpoint["state_dict"], **checkpoint.get("modules", {})})
    wanted = {"model": trainer.model.state_dict()}
    wanted = _shapes(wanted | {k: v.state_dict() for k, v in modules_of(trainer).items()})
    wrong = sorted(key for key in {*shapes, *wanted} if shapes.get(key) != wanted.get(key))
    if wrong:
        differences = "; ".join(f"{k}: {shapes.get(k)} instead of {wanted.get(k)}" for k in wrong)
        raise ValueError(
            f"checkpoint {path} is of another size than this run ({differences}): use the "
            "hyper-parameters that it was trained with"
        )


def _shapes(states: dict[str, dict[str, torch.Tensor]]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of some modules, by the module's and the tensor's name.

    The model's tensors have only their own names, as in RecBole's files.
    """
    return {
        key if owner == "model" else f"{owner}.{key}": tuple(value.shape)
        for owner, state in states.items()
        for key, value in state.items()
    }


def _sizes(optimizer: dict[str, Any]) -> list[int]:
    """How many parameters each group of an optimiser has."""
    return [len(group["params"]) for group in optimizer["param_groups"]]
