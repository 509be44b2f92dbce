"""Going on with an interrupted run, to the same result."""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.trainer import Trainer

from recbole_ext.atomic_file import remove_unfinished
from recbole_ext.checkpoint import last_file, modules_of, optimizers_of, save_last
from recbole_ext.learning_curve import curve_file
from recbole_ext.random_state import restore_random_state
from recbole_ext.recording import note_resumed
from recbole_ext.safe_file import load_checkpoint

_NEEDED = ("epoch", "cur_step", "best_valid_score")
# Settings without which what a checkpoint holds does not fit the run.
_ALIKE = ("model", "dataset", "learner", "regularizer", "lambda_learner", "meta_gradient")


def resume_checkpoint(trainer: Trainer, resume_file: str | Path) -> None:
    """Take a trainer back to a checkpoint; in place of RecBole's ``Trainer.resume_checkpoint``.

    The random state comes back when ``fit`` begins. Nothing is changed if the file does not fit.

    Raises:
        FileNotFoundError: if there is no such file, or it is a last state whose best epoch is gone.
        ValueError: if it is damaged, or of another model or size than the trainer's.
    """
    checkpoint = load_checkpoint(resume_file, trainer.device)
    _check_fits(checkpoint, trainer, resume_file)
    best = _best_file(checkpoint, Path(resume_file))
    trainer.saved_model_file = str(best)
    trainer.start_epoch = checkpoint["epoch"] + 1
    trainer.cur_step = checkpoint["cur_step"]
    trainer.best_valid_score = checkpoint["best_valid_score"]
    trainer.best_valid_result = checkpoint.get("best_valid_result")
    trainer.model.load_state_dict(checkpoint["state_dict"])
    trainer.model.load_other_parameter(checkpoint.get("other_parameter"))
    for name, optimizer in optimizers_of(trainer).items():
        optimizer.load_state_dict(_optimizer_states(checkpoint)[name])
    for name, module in modules_of(trainer).items():
        module.load_state_dict(checkpoint["modules"][name])
    trainer.resumed_random_state = checkpoint.get("random_state")
    if trainer.resumed_random_state is None:
        getLogger().warning(f"{resume_file} holds no random state: the run will not be the same")
    for file in (best, last_file(best), curve_file(best)):
        remove_unfinished(file)
    note_resumed(str(best), checkpoint["epoch"])
    trainer.logger.info(f"Checkpoint loaded. Resume training from epoch {trainer.start_epoch}")
    if trainer.cur_step > trainer.stopping_step:
        trainer.logger.info("It had ended by early stopping: nothing is left to train")
        trainer.start_epoch = max(trainer.start_epoch, trainer.epochs)


def resumable(fit: Callable) -> Callable:
    """Wrap ``Trainer.fit``: resume from ``config["resume_file"]``, and save the last state."""

    def fit_from_checkpoint(  # the arguments of RecBole's
        trainer: Trainer,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], Any] | None = None,
    ) -> Any:
        trainer.train_generator = getattr(train_data, "generator", None)
        if trainer.config["resume_file"] and trainer.start_epoch == 0:
            trainer.resume_checkpoint(trainer.config["resume_file"])
        state = trainer.__dict__.pop("resumed_random_state", None)
        if state is not None:
            restore_random_state(state, trainer.train_generator)

        def after_validation(epoch: int, score: float) -> None:
            if callback_fn:
                callback_fn(epoch, score)
            if saved:
                save_last(trainer, epoch)

        return fit(trainer, train_data, valid_data, verbose, saved, show_progress, after_validation)

    return fit_from_checkpoint


def _best_file(checkpoint: dict[str, Any], path: Path) -> Path:
    """The file of the best epoch: of a last state the one beside it, else the file itself."""
    name = checkpoint.get("best_file")
    if name is None:
        if last_file(path).is_file():
            getLogger().warning(f"{path} is the best epoch; the run went on to {last_file(path)}")
        return path
    best = path.with_name(Path(name).name)
    if not best.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} is the last state of a run whose best epoch, {best}, is not there: "
            "put it there"
        )
    return best


def _optimizer_states(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return {"optimizer": checkpoint.get("optimizer"), **checkpoint.get("other_optimizers", {})}


def _check_fits(checkpoint: dict[str, Any], trainer: Trainer, path: str | Path) -> None:
    missing = [key for key in _NEEDED if key not in checkpoint]
    states = _optimizer_states(checkpoint)
    missing += [name for name in optimizers_of(trainer) if not states.get(name)]
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
    """The size of every tensor of some modules; the model's are named as in RecBole's files."""
    return {
        key if owner == "model" else f"{owner}.{key}": tuple(value.shape)
        for owner, state in states.items()
        for key, value in state.items()
    }
