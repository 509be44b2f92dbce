"""A registry of models and extensions that RecBole does not know by itself.

RecBole finds a model, its trainer, its dataset and its yaml by name. :func:`register_model` answers
those lookups for one more model.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple

import recbole.data.dataset
import recbole.trainer
from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import get_trainer

from recbole_ext.settings.reading import Settings
from recbole_ext.settings.yaml_files import PROPERTIES, model_names, recbole_folder

_MODULE = "recbole.model.general_recommender"
_PROPERTIES_OF: dict[str, Path] = {}
_EXTENSIONS: dict[str, Extension] = {}


class Extension(NamedTuple):
    """Another way to train RecBole's own models; a user chooses it by setting its key.

    Attributes:
        trainer: the class that replaces RecBole's ``Trainer``.
        properties: the yaml files in ``properties/model`` with its hyper-parameters, without
            ``.yaml``; if the model has a hyper-parameter of the same name, the model's value stays.
            The first one names the presets.
        check: raises an error for a model's class or settings that do not fit, before any data are
            loaded.
        overrides: values that replace those of the model's own yaml; the user's config still takes
            precedence.
    """

    trainer: type[recbole.trainer.Trainer]
    properties: tuple[str, ...]
    check: Callable[[type, Settings], None]
    overrides: dict[str, Any]


def register_model(
    model: type[AbstractRecommender],
    properties: str | Path | None = None,
    trainer: type[recbole.trainer.Trainer] | None = None,
    dataset: type[recbole.data.dataset.Dataset] | None = None,
) -> type[AbstractRecommender]:
    """Make RecBole find a model by its class name, wherever it takes a model's name.

    Registering a name again replaces the model, so that a notebook cell can be run twice. A
    model's class may have four attributes, which are used before any data are loaded:

    - ``settings_classes``: subclasses of :class:`recbole_ext.settings.declared.Declared`, whose
      hyper-parameters are checked;
    - ``variant_key``, a hyper-parameter on whose value other defaults depend: if there is a
      ``<Name>-<value>.yaml`` in ``properties/model``, it is loaded as well;
    - ``derived_settings(config)``, a class method that returns defaults which depend on other
      settings;
    - ``check_hyperparameters(config)``, a class method that refuses other settings that do not fit.

    Args:
        model: the model's class; its name is the model's name.
        properties: the yaml with the model's hyper-parameters; those of its base classes are loaded
            as well. By default this package's ``properties/model/<Name>.yaml``.
        trainer: its trainer; by default RecBole's trainer for the model's type.
        dataset: its data set; by default RecBole's data set for the model's type.

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
    _put_where_recbole_looks(model, trainer, dataset)
    _PROPERTIES_OF[name] = path.resolve()
    return model


def register_extension(key: str, extension: Extension) -> None:
    """Train RecBole's models that have no trainer of their own with another trainer.

    Args:
        key: a hyper-parameter that is in no yaml of RecBole's; setting it turns the extension on.
        extension: the extension.
    """
    _EXTENSIONS[key] = extension


def known_models() -> list[str]:
    """Names of RecBole's models and of the registered ones."""
    return sorted({*model_names(), *_PROPERTIES_OF})


def is_registered(model: str) -> bool:
    """Whether a model's name was registered; RecBole's own are not."""
    return model in _PROPERTIES_OF


def properties_of(model: type) -> list[Path]:
    """The yaml files of a registered model and of its base classes; the model's own is last."""
    folders = PROPERTIES / "model", recbole_folder() / "properties" / "model"
    paths = []
    for name in (base.__name__ for base in reversed(model.__mro__)):
        given = _PROPERTIES_OF.get(name)
        paths += [given] if given else [folder / f"{name}.yaml" for folder in folders]
    return [path for path in paths if path.is_file()]


def variants_of(model: type) -> dict[str, Path]:
    """The yaml files of a model's variants, by the value of its ``variant_key``."""
    files = (PROPERTIES / "model").glob("*-*.yaml")
    named = {tuple(path.stem.split("-", 1)): path for path in sorted(files)}
    bases = [base.__name__ for base in reversed(model.__mro__)]
    return {value: path for (name, value), path in named.items() if name in bases}


def presets_of(model: str) -> dict[str, Path]:
    """The yaml files of a model's presets, by name."""
    files = sorted((PROPERTIES / "preset").glob(f"{model}-*.yaml"))
    return {path.stem.removeprefix(f"{model}-"): path for path in files}


def lower_case_yaml(model: str) -> Path | None:
    """RecBole's yaml of a model, if only the file's name is in lower case (LightGBM, XGBoost).

    RecBole itself finds it only on file systems that ignore the case.
    """
    folder = recbole_folder() / "properties" / "model"
    path = folder / f"{model.lower()}.yaml"
    return path if path.is_file() and not (folder / f"{model}.yaml").is_file() else None


def extension_file(name: str) -> Path:
    """The yaml file of an extension, by one of the names in its ``properties``."""
    return PROPERTIES / "model" / f"{name}.yaml"


def extensions_asked_for(config: Any) -> dict[str, Extension]:
    """The extensions whose keys are set, by key."""
    return {key: found for key, found in _EXTENSIONS.items() if config[key] is not None}


def trainer_of(config: Config) -> type[recbole.trainer.Trainer]:
    """The class of trainer that RecBole will make for a config, extensions included."""
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])
    asked = list(extensions_asked_for(config).values())
    return asked[0].trainer if asked and trainer is recbole.trainer.Trainer else trainer


def _recbole_has(name: str) -> bool:
    # RecBole looks up a model by its file name in lower case.
    return name.lower() in {known.lower() for known in model_names()}


def _put_where_recbole_looks(model: type, trainer: type | None, dataset: type | None) -> None:
    name = model.__name__
    module = types.ModuleType(name.lower())
    qualified = f"{_MODULE}.{name.lower()}"
    module.__spec__ = ModuleSpec(qualified, loader=None)  # find_spec needs a spec
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
