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
from typing import Any, NamedTuple

import recbole.data.dataset
import recbole.data.utils
import recbole.trainer
import recbole.utils.logger
from recbole.config import Config
from recbole.evaluator.collector import Collector
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import get_trainer

from recbole_ext import checkpoint, resuming
from recbole_ext.data import atomic_checks
from recbole_ext.data.download import download
from recbole_ext.evaluation.collecting import keeping_counts
from recbole_ext.evaluation.frequency_groups import counting_ratings, reporting_groups
from recbole_ext.finite import check_loss
from recbole_ext.general_settings import check_general, check_numbers
from recbole_ext.hyperparameters import Settings, nearest
from recbole_ext.literals import convert_settings, without_load
from recbole_ext.locations import PROPERTIES, make_folder, model_names, recbole_folder
from recbole_ext.names import check_names, check_valid_metric
from recbole_ext.recording import timed

_MODULE = "recbole.model.general_recommender"
_PROPERTIES_OF: dict[str, Path] = {}
_PRESETS = PROPERTIES / "preset"
_EXTENSIONS: dict[str, Extension] = {}


class Extension(NamedTuple):
    """Another way to train RecBole's own models, for whoever sets its key.

    Attributes:
        trainer: takes the place of RecBole's ``Trainer``.
        properties: yaml with its hyper-parameters; where the model has one of that name, the
            model's value stays.
        check: refuses a model's class or settings, before any data is loaded.
        overrides: values that the model's own yaml gives up; the user's config still wins.
    """

    trainer: type[recbole.trainer.Trainer]
    properties: Path
    check: Callable[[type, Settings], None]
    overrides: dict[str, Any]


def register_model(
    model: type[AbstractRecommender],
    properties: str | Path | None = None,
    trainer: type[recbole.trainer.Trainer] | None = None,
    dataset: type[recbole.data.dataset.Dataset] | None = None,
) -> type[AbstractRecommender]:
    """Make RecBole find a model by its class name, everywhere it takes a model's name.

    Registering a name again replaces it, so that a notebook cell can be run twice. If the model has
    a class method ``check_hyperparameters(config)``, it is called before any data is loaded; if it
    has ``derived_settings(config)``, what that returns are defaults that depend on other settings.

    Args:
        model: the model's class; its name is the model's name.
        properties: yaml with the model's hyper-parameters, beside those of the models that it
            extends; by default this package's ``properties/model/<Name>.yaml``.
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


def register_extension(key: str, extension: Extension) -> None:
    """Train any model of RecBole's that has no trainer of its own by another trainer.

    Args:
        key: a hyper-parameter that no yaml of RecBole's has; whoever sets it asks for the
            extension.
        extension: what then happens.
    """
    _EXTENSIONS[key] = extension


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
    _replace(Config, "_convert_config_dict", lambda _: convert_settings)
    recbole.data.utils.pickle = without_load()
    for module in (recbole.utils.logger, recbole.trainer.trainer, recbole.data.utils):
        module.ensure_dir = make_folder
    data = recbole.data.dataset.Dataset
    _replace(data, "_download", download)
    _replace(data, "_load_feat", atomic_checks.reading_checked)
    _replace(data, "_data_processing", atomic_checks.lists_checked)
    _replace(data, "sort", atomic_checks.sorting_checked)
    for step in ("_from_scratch", "_change_feat_format"):
        _replace(data, step, atomic_checks.preparing_checked)
    if not hasattr(trainer.__dict__.get("__new__", _extended), "_replaced_by_recbole_ext"):
        raise RuntimeError("recbole_ext needs RecBole 1.2.1: its Trainer has a __new__ now")
    trainer.__new__ = _extended
    _replace(Collector, "get_data_struct", keeping_counts)
    _replace(trainer, "_check_nan", lambda _: check_loss)
    _replace(trainer, "_save_checkpoint", lambda _: checkpoint.save_checkpoint)
    _replace(trainer, "resume_checkpoint", lambda _: resuming.resume_checkpoint)
    _replace(
        trainer, "fit", lambda fit: timed("training", resuming.resumable(counting_ratings(fit)))
    )
    _replace(
        trainer,
        "_valid_epoch",
        lambda valid: timed("validation", checkpoint.noting_validations(valid)),
    )
    _replace(trainer, "evaluate", lambda evaluate: timed("test", reporting_groups(evaluate)))


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
            for path in _properties(model_class):
                config._update_internal_config_dict(path)
            _load_preset(config, model)
        elif any(config.external_config_dict.get(key) is not None for key in _EXTENSIONS):
            _load_extensions(config, model, model_class)
        else:
            _load_preset(config, model)
        known = model in known_models()  # not a class that somebody passes without a yaml
        if known:
            check_names(config, model, strict=model in _PROPERTIES_OF)
            given = _settings(config)
            if model not in _PROPERTIES_OF:  # ours check their own, and say more
                check_numbers(given, model)
            check_general(given, model_class)
        if hasattr(model_class, "derived_settings"):
            config.internal_config_dict.update(model_class.derived_settings(_settings(config)))
        final = _settings(config)
        if known:
            check_valid_metric(final)
        if hasattr(model_class, "check_hyperparameters"):
            model_class.check_hyperparameters(final)

    return load_internal_config_dict


def _properties(model_class: type) -> list[Path]:
    """The yaml files of a registered model and of the models that it extends, its own last."""
    theirs = recbole_folder() / "properties" / "model"
    names = [base.__name__ for base in reversed(model_class.__mro__)]
    paths = [_PROPERTIES_OF.get(name, theirs / f"{name}.yaml") for name in names]
    return [path for path in paths if path.is_file()]


def _settings(config: Config) -> Settings:
    """All settings, ``None`` where there is none; the user's win."""
    return defaultdict(lambda: None, {**config.internal_config_dict, **config.external_config_dict})


def trainer_of(config: Config) -> type[recbole.trainer.Trainer]:
    """The class of trainer that RecBole will make for a config, extensions included."""
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])
    asked = _asked_for(config)
    return asked.trainer if asked and trainer is recbole.trainer.Trainer else trainer


def _asked_for(config: Any) -> Extension | None:
    found = [extension for key, extension in _EXTENSIONS.items() if config[key] is not None]
    return found[0] if found else None


def _extended(cls: type, config: Any = None, *_: Any, **__: Any) -> recbole.trainer.Trainer:
    """``Trainer(config, model)`` makes an extension's trainer where the config asks for one."""
    asked = _asked_for(config) if isinstance(config, Config) else None
    if isinstance(config, Config):
        resuming.check_resumable(cls, config)
    if asked is None or issubclass(cls, asked.trainer):
        return object.__new__(cls)
    if cls is not recbole.trainer.Trainer:
        keys = " and ".join(key for key in _EXTENSIONS if config[key] is not None)
        raise ValueError(
            f"{keys} needs {asked.trainer.__name__} or a class of it; got {cls.__name__}"
        )
    return object.__new__(asked.trainer)


_extended._replaced_by_recbole_ext = True  # type: ignore[attr-defined]


def _load_extensions(config: Config, model: str, model_class: type) -> None:
    for key, extension in _EXTENSIONS.items():
        value = config.external_config_dict.get(key)
        if value is None:
            continue
        own = dict(config.internal_config_dict)
        config._update_internal_config_dict(extension.properties)
        config.internal_config_dict.update({**own, **extension.overrides})
        _load_preset(config, extension.properties.stem)
        trainer = get_trainer(model_class.type, model)  # type: ignore[attr-defined]
        if trainer is not recbole.trainer.Trainer:
            raise ValueError(
                f"{key}: {value} is for models without a trainer of their own; {model} has "
                f"{trainer.__name__}"
            )
        extension.check(model_class, _settings(config))


def _load_preset(config: Config, model: str) -> None:
    """Load ``preset: NAME``, settings of ours for a model; the user's config still wins."""
    name = config.external_config_dict.get("preset")
    if name is None:
        return
    known = {p.stem.removeprefix(f"{model}-"): p for p in _PRESETS.glob(f"{model}-*.yaml")}
    if not isinstance(name, str) or name not in known:
        there_are = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise ValueError(f"preset: {model} has no preset {name!r}; {there_are}")
    config._update_internal_config_dict(known[name])
