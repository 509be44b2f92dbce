"""The checks of settings, where RecBole is about to use them.

``Config`` checks what it uses itself (``seams/config.py``). A data set, a loader, a model and a
trainer check theirs when they are made, and a training what it needs besides. The quick start
checks everything at once, before any data are loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recbole.config import Config
from recbole.evaluator.register import metric_information
from recbole.utils import get_model

from recbole_ext.seams.registry import is_registered
from recbole_ext.settings.general import (
    OF_DATA,
    OF_LOADERS,
    OF_RECBOLES_TRAINERS,
    OF_TRAINERS,
    check,
    check_numbers,
    check_training,
)


def check_run(config: Config) -> None:
    """Check all settings of a run, from its data to its training.

    Raises:
        ValueError: names the key, its value and the allowed values.
    """
    check(config, {**OF_DATA, **OF_LOADERS})
    check_trainer(config)
    _check_model(config)
    check_training(config, _class_of(config), config["eval_step"] > 0)


def checking_data(make: Callable) -> Callable:
    """Wrap the constructor of a data set: its settings are checked."""
    return _checked_by(make, lambda config: check(config, OF_DATA))


def checking_loader(make: Callable) -> Callable:
    """Wrap the constructor of a loader: its settings are checked."""
    return _checked_by(make, lambda config: check(config, OF_LOADERS))


def checking_model(make: Callable) -> Callable:
    """Wrap the constructor of a kind of models: RecBole's own have numbers where these belong."""
    return _checked_by(make, _check_model)


def check_trainer(config: Config) -> None:
    """Check the settings of a trainer."""
    check(config, OF_TRAINERS if is_registered(config["model"]) else OF_RECBOLES_TRAINERS)


def _checked_by(make: Callable, check_config: Callable[[Config], None]) -> Callable:
    """A constructor that checks its first argument, the config."""

    def make_checked(made: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(config, Config):
            check_config(config)
        make(made, config, *args, **kwargs)

    return make_checked


def checking_training(fit: Callable) -> Callable:
    """Wrap ``Trainer.fit``: settings and data are checked that only a training needs."""

    def fit_checked(
        trainer: Any, train_data: Any, valid_data: Any = None, *args: Any, **kw: Any
    ) -> Any:
        if isinstance(trainer.config, Config):
            validates = bool(valid_data) and trainer.eval_step > 0
            check_training(trainer.config, type(trainer.model), validates)
            if validates:
                check_lists(trainer.config, valid_data)
        return fit(trainer, train_data, valid_data, *args, **kw)

    return fit_checked


def checking_test(evaluate: Callable) -> Callable:
    """Wrap ``Trainer.evaluate``: its lists must not be longer than the catalogue."""

    def evaluate_checked(trainer: Any, eval_data: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(trainer.config, Config):
            check_lists(trainer.config, eval_data)
        return evaluate(trainer, eval_data, *args, **kwargs)

    return evaluate_checked


def check_lists(config: Config, data: Any) -> None:
    """Refuse lists that are longer than the catalogue; RecBole fails within a validation.

    Raises:
        ValueError: names ``topk`` and the number of items.
    """
    needs = {need for name in config["metrics"] for need in metric_information[name.lower()]}
    dataset = getattr(data, "_dataset", None)
    if dataset is None or not needs & {"rec.topk", "rec.items"}:
        return
    longest = max(config["topk"], default=0)
    if longest > dataset.item_num:
        raise ValueError(
            f"topk: {longest} is more than the {dataset.item_num - 1} items that dataset "
            f"{dataset.dataset_name} has after filtering"
        )


def _check_model(config: Config) -> None:
    """Check the numbers of RecBole's own models; ours check theirs in more detail."""
    if not is_registered(config["model"]):
        check_numbers(config, config["model"])


def _class_of(config: Config) -> type:
    return getattr(config, "model_class", None) or get_model(config["model"])
