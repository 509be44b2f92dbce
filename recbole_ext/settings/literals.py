"""Reading values from text as literals, so that no text of a user or a file is run as code."""

from __future__ import annotations

import ast
import pickle
from logging import getLogger
from types import SimpleNamespace
from typing import Any, BinaryIO

_KINDS = (str, int, float, list, tuple, dict, bool)


def literal(text: str) -> Any:
    """The number, boolean, list, dictionary or ``None`` in a text; otherwise the text itself."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {"true": True, "false": False}.get(text.lower(), text)
    return value if value is None or isinstance(value, _KINDS) else text


def convert_settings(_: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Replace RecBole's ``Config._convert_config_dict``, which evaluates strings as code."""
    for key, value in settings.items():
        if isinstance(value, str):
            settings[key] = literal(value)
    return settings


def left_unsaved(*_: Any, **__: Any) -> None:
    """Replace what saves a data set or loaders, as pickles are not read."""
    getLogger().warning(
        "save_dataset and save_dataloaders are passed over: RecBole pickles what it saves, which "
        "can run any code that is hidden in it, and is not read; the data are built anew"
    )


def refuse(file: BinaryIO) -> None:
    """Replace ``pickle.load`` where RecBole loads data sets.

    Raises:
        ValueError: always; names the file.
    """
    raise ValueError(
        f"{file.name} is a pickled data set, which can run any code that is hidden in it; it is "
        "not read. Remove it, or choose another checkpoint_dir: the data set is built anew"
    )


def without_load() -> SimpleNamespace:
    """A replacement for ``pickle`` in RecBole's ``data/utils.py`` that refuses to load."""
    return SimpleNamespace(dump=pickle.dump, load=refuse)
