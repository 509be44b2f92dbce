"""Files that are written atomically and that ``torch.load`` reads in its safe mode."""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from recbole.config import Config
from recbole.utils import EvaluatorType, FeatureSource, FeatureType, InputType, ModelType
from scipy import sparse

from recbole_ext.runs.atomic_file import replacing

_SAFE_LOADING = hasattr(torch.serialization, "add_safe_globals")  # from torch 2.4 on


def trust(*classes: Any) -> None:
    """Allow ``torch.load`` to rebuild these classes in its safe mode."""
    if _SAFE_LOADING:
        torch.serialization.add_safe_globals(list(classes))


trust(Config, EvaluatorType, FeatureSource, FeatureType, InputType, ModelType, yaml.FullLoader)
# RecBole's models without gradients, such as EASE and ItemKNN, hold arrays and sparse matrices.
trust(np.ndarray, np.matrix, np.dtype, np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0])
trust(*{type(np.dtype(code)) for code in "?bBhHiIlLqQefdO"})
trust(sparse.coo_matrix, sparse.csc_matrix, sparse.csr_matrix, sparse.lil_matrix)


def load_checkpoint(
    path: str | Path, device: torch.device | str | None = None, mapped: bool = False
) -> dict[str, Any]:
    """Read a checkpoint in torch's safe mode.

    Args:
        path: the file.
        device: the device for its tensors; by default the device that they were saved from.
        mapped: whether tensors stay in the file until they are read, for a process that cannot hold
            all of them; the device must then be the CPU.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is truncated, is no checkpoint, or is not safe to load.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        given = {"weights_only": True} if _SAFE_LOADING else {}
        given |= {"mmap": True} if mapped else {}
        checkpoint = torch.load(path, map_location=device, **given)
    except Exception as error:  # a file that is no checkpoint can raise anything
        raise ValueError(
            f"checkpoint {path} cannot be read: it is truncated, or no checkpoint of this package. "
            "Use another checkpoint or train again; for an old RecBole file that you trust, see "
            f"recbole_ext.runs.checkpoint.convert_trusted_checkpoint ({_first_line(error)})"
        ) from error
    kinds = {"config": Config, "state_dict": dict}
    content = checkpoint if isinstance(checkpoint, dict) else {}
    missing = [key for key, kind in kinds.items() if not isinstance(content.get(key), kind)]
    if missing:
        raise ValueError(f"{path} is no RecBole checkpoint: it has no {' and no '.join(missing)}")
    return checkpoint


def convert_trusted_checkpoint(source: str | Path, target: str | Path) -> None:
    """Rewrite an old RecBole checkpoint so that it loads safely.

    Reading the old file can run any code that is hidden in it, so use this only for files that you
    trust. (RecBole writes pickle protocol 4, which torch does not read in its safe mode.)
    """
    state = torch.load(source, map_location="cpu", weights_only=False)
    state["config"] = portable_config(state["config"])
    write_atomically(plain(state), target)


def write_atomically(state: dict[str, Any], path: str | Path) -> None:
    """Write a file that :func:`load_checkpoint` reads; ``path`` never holds a part of a file.

    Raises:
        OSError: if ``path`` cannot be written; the error names it.
        ValueError: if the file would hold a class that is not safe to load.
    """
    with replacing(path) as file:
        try:
            torch.save(state, file, pickle_protocol=2)
        except RuntimeError as error:  # torch's writer hides the cause
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
        file.flush()
        _check_safe(file.name)


def _check_safe(path: str) -> None:
    """Refuse a file that the safe mode of ``torch.load`` would not read."""
    unsafe_globals = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)
    unsafe = sorted(unsafe_globals(path)) if unsafe_globals else []
    if unsafe:
        raise ValueError(
            f"the checkpoint would hold {', '.join(unsafe)}, which torch does not load safely: "
            "give hyper-parameters as plain numbers, strings, lists and dictionaries, or allow "
            "the class with recbole_ext.runs.checkpoint.trust"
        )


def portable_config(config: Config) -> Config:
    """A copy with plain values, without the model's class and without ``resume_file``."""
    portable = copy.copy(config)
    portable.__dict__ = {key: plain(value) for key, value in vars(config).items()}
    portable.__dict__.pop("model_class", None)
    portable.final_config_dict.pop("resume_file", None)
    return portable


def plain(value: Any) -> Any:
    """Replace numpy scalars, paths and subclasses of ``dict``, at any depth, by plain values."""
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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
