"""The only file that touches RecBole's lookups: it puts our classes where RecBole looks for them.

RecBole finds a model, its trainer, its dataset and its yaml by name. :func:`register_model` answers
those lookups for one more model; :func:`install` replaces the few RecBole methods that cannot be
reached otherwise, each once, each named in an error if a RecBole release moves it.
"""

from __future__ import annotations

import sys
import types
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import recbole.data.dataset
import recbole.trainer
from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_ext import checkpoint
from recbole_ext.data.download import download
from recbole_ext.hyperparameters import nearest
from recbole_ext.locations import PROPERTIES, model_names
from recbole_ext.names import check_names, check_valid_metric
from recbole_ext.recording import timed

_MODULE = "recbole.model.general_recommender"
_PROPERTIES_OF: dict[str, Path] = {}


def register_model(
    model: type[AbstractRecommender],
    properties: str | Path | None = None,
    trainer: type[recbole.trainer.Trainer] | None = None,
    dataset: type[recbole.data.dataset.Dataset] | None = None,
) -> type[AbstractRecommender]:
    """Make RecBole find a model by its class name, everywhere it takes a model's name.

    Registering a name again replaces it, so that a notebook cell can be run twice. If the model has
    a class method ``check_hyperparameters(config)``, it is called before any data is loaded.

    Args:
        model: the model's class; its name is the model's name.
        properties: yaml with the model's hyper-parameters; by default this package's
            ``properties/model/<Name>.yaml``.
        trainer: its trainer; by default RecBole's for the model's type.
        dataset: its dataset; by default RecBole's for the model's type.

    Returns:
        The model's class, unchanged.

    Raises:
        ValueError: if RecBole has a model of that name.
        FileNotFoundError: if the yaml does not exist.
    """
    name = model.__name__
    path = Path(properties) if properties else PROPERTIES / "model" / f"{name}.yaml"
    if _recbole_has(name):
        raise ValueError(f"RecBole has a model {name!r} already; give the class another name")
    if not path.is_file():
        raise FileNotFoundError(
            f"no properties for model {name!r}: {path} does not exist; write its hyper-parameters "
            "there or pass properties="
        )
    module = types.ModuleType(name.lower())
    qualified = f"{_MODULE}.{name.lower()}"
    module.__spec__ = ModuleSpec(qualified, loader=None)  # find_spec wants one
    setattr(module, name, model)
    sys.modules[qualified] = module
    for lookup, kind, value in (
        (recbole.trainer, "Trainer", trainer),
        (recbole.data.dataset, "Dataset", dataset),
    ):
        if value is not None:
            setattr(lookup, f"{name}{kind}", value)
        elif hasattr(lookup, f"{name}{kind}") and name in _PROPERTIES_OF:
            delattr(lookup, f"{name}{kind}")
    _PROPERTIES_OF[name] = path.resolve()
    return model


def known_models() -> list[str]:
    """Names of RecBole's models and of the registered ones."""
    return sorted({*model_names(), *_PROPERTIES_OF})


def install() -> None:
    """Replace the RecBole methods that a plugin cannot reach by name. Safe to call twice.

    Raises:
        RuntimeError: naming the method, if this RecBole does not have it.
    """
    trainer = recbole.trainer.Trainer
    _replace(Config, "_get_model_and_dataset", _with_nearest_names)
    _replace(Config, "_load_internal_config_dict", _with_registered_properties)
    _replace(recbole.data.dataset.Dataset, "_download", download)
    _replace(trainer, "_save_checkpoint", lambda _: checkpoint.save_checkpoint)
    _replace(trainer, "resume_checkpoint", lambda _: checkpoint.resume_checkpoint)
    _replace(trainer, "fit", lambda fit: timed("training", checkpoint.resumable(fit)))
    _replace(
        trainer,
        "_valid_epoch",
        lambda valid: timed("validation", checkpoint.remembering_result(valid)),
    )
    _replace(trainer, "evaluate", lambda evaluate: timed("test", evaluate))


def _replace(owner: type, name: str, wrap: Callable[[Callable], Callable]) -> None:
    original = owner.__dict__.get(name)
    if original is None:
        raise RuntimeError(
            f"recbole_ext needs RecBole 1.2.1: its {owner.__name__}.{name} is not there any more"
        )
    if not hasattr(original, "_replaced_by_recbole_ext"):
        replacement = wraps(original)(wrap(original))
        replacement._replaced_by_recbole_ext = True  # type: ignore[attr-defined]
        setattr(owner, name, replacement)


def _recbole_has(name: str) -> bool:
    # RecBole looks a model up by its lower-case file name.
    return name.lower() in {known.lower() for known in model_names()}


def _with_nearest_names(original: Callable) -> Callable:
    def get_model_and_dataset(config: Config, model: Any, dataset: Any) -> tuple:
        name = model if model is not None else config.external_config_dict.get("model")
        if isinstance(name, str) and name not in known_models():
            raise ValueError(f"model: there is no model {name!r}." + nearest(name, known_models()))
        return original(config, model, dataset)

    return get_model_and_dataset


def _with_registered_properties(original: Callable) -> Callable:
    """Load a registered model's yaml after RecBole's own; the user's config still wins."""

    def load_internal_config_dict(config: Config, model: str, model_class: type, data: str) -> None:
        original(config, model, model_class, data)
        checkpoint.trust(model_class)  # for files that RecBole's pre-training writes itself
        if model in _PROPERTIES_OF:
            config._update_internal_config_dict(_PROPERTIES_OF[model])
        final = {**config.internal_config_dict, **config.external_config_dict}
        if model in known_models():  # not a class that somebody passes without a yaml
            check_names(config, model, strict=model in _PROPERTIES_OF)
            check_valid_metric(final)
        if hasattr(model_class, "check_hyperparameters"):
            model_class.check_hyperparameters(defaultdict(lambda: None, final))

    return load_internal_config_dict
