"""Additions to RecBole's ``Config``: this package's yaml files, presets, extensions and checks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import recbole.trainer
import yaml
from recbole.config import Config
from recbole.utils import get_trainer

from recbole_ext.runs.safe_file import trust
from recbole_ext.seams.registry import (
    Extension,
    extension_file,
    extensions_asked_for,
    is_registered,
    known_models,
    lower_case_yaml,
    presets_of,
    properties_of,
    variants_of,
)
from recbole_ext.seams.todays_packages import repair_quick_start
from recbole_ext.settings.general import check_config
from recbole_ext.settings.reading import Settings, nearest
from recbole_ext.settings.unknown_names import check_names


def with_nearest_names(original: Callable) -> Callable:
    """Wrap ``Config._get_model_and_dataset``: the error for an unknown model suggests names."""

    def get_model_and_dataset(config: Config, model: Any, dataset: Any) -> tuple:
        repair_quick_start()
        name = model if model is not None else config.external_config_dict.get("model")
        if isinstance(name, str) and name not in known_models():
            raise ValueError(f"model: there is no model {name!r}." + nearest(name, known_models()))
        return original(config, model, dataset)

    return get_model_and_dataset


def with_registered_properties(original: Callable) -> Callable:
    """Wrap ``Config._load_internal_config_dict``: a model's yaml is loaded after RecBole's own.

    The user's config still takes precedence. What a ``Config`` itself uses is checked here, and
    the hyper-parameters of a registered model, on which other defaults depend.
    """

    def load_internal_config_dict(config: Config, model: str, model_class: type, data: str) -> None:
        original(config, model, model_class, data)
        trust(model_class)  # so that files of RecBole's pre-training can be loaded
        _load_yaml(config, model, model_class)
        if model in known_models():  # a class that a user passes may have no yaml
            check_names(config, model, strict=is_registered(model))
            check_config(_settings(config))
        if hasattr(model_class, "derived_settings"):
            config.internal_config_dict.update(model_class.derived_settings(_settings(config)))
        _check_declared(model_class, _settings(config))

    return load_internal_config_dict


def _load_yaml(config: Config, model: str, model_class: type) -> None:
    """Load the yaml files of a registered model, or of the extensions that are asked for."""
    if is_registered(model):
        for path in properties_of(model_class):
            config._update_internal_config_dict(path)
        _load_variant(config, model, model_class)
        _load_preset(config, model)
        return
    unfound = lower_case_yaml(model)
    if unfound is not None:
        config._update_internal_config_dict(unfound)
    asked = extensions_asked_for(defaultdict(lambda: None, config.external_config_dict))
    if not asked:
        _load_preset(config, model)
    for key, extension in asked.items():
        _load_extension(config, model, model_class, key, extension)


def _load_variant(config: Config, model: str, model_class: Any) -> None:
    """Load the defaults that depend on one key of a model: ``<Model>-<value of the key>.yaml``."""
    key = getattr(model_class, "variant_key", None)
    if key is None:
        return
    preset = _preset(config, model)
    by_preset = yaml.safe_load(preset.read_text(encoding="utf-8")) if preset else {}
    known = {**config.internal_config_dict, **by_preset, **config.external_config_dict}
    path = variants_of(model_class).get(str(known[key]))
    if path is not None:
        config._update_internal_config_dict(path)


def _check_declared(model_class: Any, settings: Settings) -> None:
    """Check the hyper-parameters of a model's settings classes, then what the model adds."""
    _check_sharding(model_class, settings)
    for declared in getattr(model_class, "settings_classes", ()):
        declared.read(settings)
    if hasattr(model_class, "check_hyperparameters"):
        model_class.check_hyperparameters(settings)


def _check_sharding(model_class: Any, settings: Settings) -> None:
    """Refuse to spread the rows of tables that a model does not have, or reads as a whole."""
    classes = getattr(model_class, "settings_classes", ())
    declares = any("embedding_sharding" in vars(declared) for declared in classes)
    if settings["embedding_sharding"] is not None and not declares:
        raise ValueError(
            f"embedding_sharding: {settings['embedding_sharding']} is for LambdaOptMF; each "
            f"process holds all of {model_class.__name__}: leave it out"
        )


def _settings(config: Config) -> Settings:
    """All settings, where the user's take precedence; a setting that is missing is ``None``."""
    return defaultdict(lambda: None, {**config.internal_config_dict, **config.external_config_dict})


def _load_extension(
    config: Config, model: str, model_class: Any, key: str, extension: Extension
) -> None:
    own = dict(config.internal_config_dict)
    for name in extension.properties:
        config._update_internal_config_dict(extension_file(name))
    config.internal_config_dict.update({**own, **extension.overrides})
    _load_preset(config, extension.properties[0])
    trainer = get_trainer(model_class.type, model)
    if trainer is not recbole.trainer.Trainer:
        raise ValueError(
            f"{key}: {config.external_config_dict[key]} is for models without a trainer of their "
            f"own; {model} has {trainer.__name__}"
        )
    extension.check(model_class, _settings(config))


def _load_preset(config: Config, model: str) -> None:
    """Load this package's settings ``preset: NAME``; the user's config still takes precedence."""
    path = _preset(config, model)
    if path is not None:
        config._update_internal_config_dict(path)


def _preset(config: Config, model: str) -> Path | None:
    """The file of the preset that is asked for; ``None`` if none is."""
    name = config.external_config_dict.get("preset")
    if name is None:
        return None
    known = presets_of(model)
    if not isinstance(name, str) or name not in known:
        there_are = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise ValueError(f"preset: {model} has no preset {name!r}; {there_are}")
    return known[name]
