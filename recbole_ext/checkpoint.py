"""Checkpoints: written atomically, read safely, and complete enough to resume to the same result.

A checkpoint is RecBole's own dictionary (so RecBole reads it) and, beside it, every optimiser, the
random state and the early-stopping state. It is written with pickle protocol 2 and holds only
classes named below, because ``torch.load`` reads nothing else unless it is told to trust the file.
"""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from recbole.config import Config
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType, FeatureSource, FeatureType, InputType, ModelType, set_color
from scipy import sparse
from torch import nn
from torch.optim import Optimizer

from recbole_ext.random_state import capture_random_state, restore_random_state
from recbole_ext.recording import note_checkpoint

_TO_RESUME = ("epoch", "cur_step", "best_valid_score")
_SAFE_LOADING = hasattr(torch.serialization, "add_safe_globals")  # from torch 2.4 on


def trust(*classes: Any) -> None:
    """Let ``torch.load`` rebuild these classes in safe loading."""
    if _SAFE_LOADING:
        torch.serialization.add_safe_globals(list(classes))


trust(Config, EvaluatorType, FeatureSource, FeatureType, InputType, ModelType, yaml.FullLoader)
# What RecBole's models without gradients keep: EASE and ItemKNN, for example.
trust(np.ndarray, np.matrix, np.dtype, np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0])
trust(*{type(np.dtype(code)) for code in "?bBhHiIlLqQefdO"})
trust(sparse.coo_matrix, sparse.csc_matrix, sparse.csr_matrix, sparse.lil_matrix)


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
    note_checkpoint(str(resume_file))
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
        return score, trainer.latest_valid_result

    return valid_epoch_with_memory


def load_checkpoint(path: str | Path, device: torch.device | str | None = None) -> dict[str, Any]:
    """Read a checkpoint with safe loading.

    Args:
        path: the file.
        device: where its tensors go; by default where they were.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated, no checkpoint, or not safe to load.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        safe = {"weights_only": True} if _SAFE_LOADING else {}
        checkpoint = torch.load(path, map_location=device, **safe)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError, KeyError, ValueError) as error:
        raise ValueError(
            f"checkpoint {path} cannot be read: it is truncated, or no checkpoint of this package. "
            "Use another checkpoint or train again; for an old RecBole file that you trust, see "
            f"recbole_ext.checkpoint.convert_trusted_checkpoint ({_first_line(error)})"
        ) from error
    kinds = {"config": Config, "state_dict": dict}
    content = checkpoint if isinstance(checkpoint, dict) else {}
    missing = [key for key, kind in kinds.items() if not isinstance(content.get(key), kind)]
    if missing:
        raise ValueError(f"{path} is no RecBole checkpoint: it has no {' and no '.join(missing)}")
    return checkpoint


def convert_trusted_checkpoint(source: str | Path, target: str | Path) -> None:
    """Rewrite an old RecBole checkpoint so that it loads safely.

    Reading the old file can run any code that is hidden in it: only for files that you trust.
    """
    state = torch.load(source, map_location="cpu", weights_only=False)
    state["config"] = portable_config(state["config"])
    write_atomically(plain(state), target)


def write_atomically(state: dict[str, Any], path: str | Path) -> None:
    """Write to a file beside ``path`` and rename it, so that ``path`` is always whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file, pickle_protocol=2)
            file.flush()
            os.fsync(file.fileno())
        _check_safe(temporary)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _check_safe(path: str) -> None:
    """Refuse, while there is time, to write what safe loading would refuse to read."""
    unsafe_globals = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)
    unsafe = sorted(unsafe_globals(path)) if unsafe_globals else []
    if unsafe:
        raise ValueError(
            f"the checkpoint would hold {', '.join(unsafe)}, which torch does not load safely: "
            "give hyper-parameters as plain numbers, strings, lists and dictionaries, or allow "
            "the class with recbole_ext.checkpoint.trust"
        )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def portable_config(config: Config) -> Config:
    """A copy with plain values, without what belongs to one run or can be found by name."""
    portable = copy.copy(config)
    portable.__dict__ = {key: plain(value) for key, value in vars(config).items()}
    portable.__dict__.pop("model_class", None)
    portable.final_config_dict.pop("resume_file", None)
    return portable


def plain(value: Any) -> Any:
    """Replace numpy's scalars, paths and kinds of ``dict``, at any depth, by plain ones."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        return kind((key, plain(item)) for key, item in value.items())
    if type(value) in (list, tuple, set):
        return type(value)(plain(item) for item in value)
    return value


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
    for key in ("model", "dataset", "learner", "lambda_learner", "regularizer"):
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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
