"""The methods of RecBole that this package replaces, as RecBole has no hooks for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import recbole.data.dataset.dataset
import recbole.data.dataset.kg_dataset
import recbole.data.utils
import recbole.trainer
import recbole.utils.logger
from recbole.config import Config
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataloader.general_dataloader import NegSampleEvalDataLoader
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import Collector
from recbole.model.abstract_recommender import (
    ContextRecommender,
    GeneralRecommender,
    KnowledgeRecommender,
    SequentialRecommender,
)

from recbole_ext.runs import checkpoint, resuming
from recbole_ext.runs.frequency_groups import counting_ratings, reporting_groups
from recbole_ext.runs.not_a_number import check_loss
from recbole_ext.runs.run_state import state_of_new_trainer, timed
from recbole_ext.seams import (
    atomic_checks,
    collecting,
    faster_data,
    judging,
    mended_data,
    parquet_files,
)
from recbole_ext.seams.config import with_nearest_names, with_registered_properties
from recbole_ext.seams.download import download
from recbole_ext.seams.registry import extensions_asked_for
from recbole_ext.seams.shared_evaluation import dividing_evaluation
from recbole_ext.seams.shared_training import dividing_batches, stepping_in_one_pass
from recbole_ext.seams.todays_packages import quietly, repair
from recbole_ext.settings import literals


def install() -> None:
    """Replace RecBole's methods, each once; a second call changes nothing.

    Raises:
        RuntimeError: names the method, if the installed RecBole does not have it.
    """
    repair(_replace)
    _replace(Config, "_get_model_and_dataset", with_nearest_names)
    _replace(Config, "_load_internal_config_dict", with_registered_properties)
    _replace(Config, "_convert_config_dict", lambda _: literals.convert_settings)
    for module in (recbole.utils.logger, recbole.trainer.trainer, recbole.data.utils):
        module.ensure_dir = _make_folder
    _replace_in_datasets()
    faster_data.install(_replace)
    _replace_in_models()
    _replace(Collector, "get_data_struct", collecting.keeping_counts)
    _replace(Evaluator, "evaluate", collecting.evaluating_aloud)
    _replace_in_trainers()


def _make_folder(path: str | Path) -> None:
    """Replace RecBole's ``ensure_dir``, which fails if another process has just made the folder."""
    Path(path).mkdir(parents=True, exist_ok=True)


def _replace_in_datasets() -> None:
    recbole.data.utils.pickle = literals.without_load()
    dataset = recbole.data.dataset.Dataset
    _replace(dataset, "_download", download)
    _replace(dataset, "_load_feat", _either_checked)
    for module in (recbole.data.dataset.dataset, recbole.data.dataset.kg_dataset):
        module.os = parquet_files.SEES_PARQUET
    _replace(dataset, "__init__", judging.checking_data)
    _replace(dataset, "save", lambda _: literals.left_unsaved)
    recbole.data.utils.save_split_dataloaders = literals.left_unsaved
    _replace(AbstractDataLoader, "__init__", judging.checking_loader)
    _replace(dataset, "sort", atomic_checks.sorting_checked)
    _replace(dataset, "_from_scratch", atomic_checks.preparing_checked)
    _replace(dataset, "_change_feat_format", _checked_and_in_order)
    _replace(dataset, "_get_load_and_unload_col", mended_data.loading_times)
    _replace(dataset, "build", mended_data.in_three_parts)
    history = cached_property(mended_data.history_of)
    history.__set_name__(NegSampleEvalDataLoader, "uid2history_item")
    NegSampleEvalDataLoader.uid2history_item = history


def _either_checked(load: Callable) -> Callable:
    return parquet_files.reading_either(atomic_checks.reading_checked(quietly(load)))


def _checked_and_in_order(change_format: Callable) -> Callable:
    return atomic_checks.preparing_checked(mended_data.in_exact_order(change_format))


def _replace_in_models() -> None:
    for kind in (
        GeneralRecommender,
        SequentialRecommender,
        ContextRecommender,
        KnowledgeRecommender,
    ):
        _replace(kind, "__init__", judging.checking_model)


def _replace_in_trainers() -> None:
    trainer = recbole.trainer.Trainer
    if not hasattr(trainer.__dict__.get("__new__", _new_trainer), "_replaced_by_recbole_ext"):
        raise RuntimeError("recbole_ext needs RecBole 1.2.1: its Trainer has a __new__ now")
    trainer.__new__ = _new_trainer
    _replace(trainer, "_check_nan", lambda _: check_loss)
    _replace(trainer, "_save_checkpoint", lambda _: checkpoint.save_checkpoint)
    _replace(trainer, "resume_checkpoint", lambda _: resuming.resume_checkpoint)
    _replace(trainer, "_train_epoch", dividing_batches)
    _replace(trainer, "_build_optimizer", stepping_in_one_pass)
    _replace(trainer, "fit", _recorded_fit)
    _replace(trainer, "_valid_epoch", _recorded_validation)
    _replace(trainer, "evaluate", _recorded_test)


def _recorded_fit(fit: Callable) -> Callable:
    return judging.checking_training(timed("training", resuming.resumable(counting_ratings(fit))))


def _recorded_validation(validate: Callable) -> Callable:
    return timed("validation", checkpoint.noting_validations(validate))


def _recorded_test(evaluate: Callable) -> Callable:
    return judging.checking_test(timed("test", reporting_groups(dividing_evaluation(evaluate))))


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


def _new_trainer(cls: type, config: Any = None, *_: Any, **__: Any) -> recbole.trainer.Trainer:
    """Make a trainer: ``Trainer(config, model)``, or an extension's if the config asks for one.

    Each trainer receives the state of its run.
    """
    kind = cls
    if isinstance(config, Config):
        judging.check_trainer(config)
        resuming.check_resumable(cls, config)
        kind = _extended(cls, config)
    trainer: Any = object.__new__(kind)
    trainer.run_state = state_of_new_trainer()
    return trainer


_new_trainer._replaced_by_recbole_ext = True  # type: ignore[attr-defined]


def _extended(cls: type, config: Config) -> type:
    """The class itself, or the trainer of the extension that the config asks for."""
    asked = extensions_asked_for(config)
    if not asked:
        return cls
    trainer = next(iter(asked.values())).trainer
    if issubclass(cls, trainer):
        return cls
    if cls is not recbole.trainer.Trainer:
        raise ValueError(
            f"{' and '.join(asked)} needs {trainer.__name__} or a class of it; got {cls.__name__}"
        )
    return trainer
