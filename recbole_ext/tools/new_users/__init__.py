"""Recommendations of a trained model for users that are not in its data set."""

from __future__ import annotations

from pathlib import Path

from recbole.model.abstract_recommender import GeneralRecommender

from recbole_ext.meta.meta_recommender import MetaRecommender
from recbole_ext.tools.new_users.adapting_recommender import AdaptingRecommender
from recbole_ext.tools.new_users.atomic_table import read_atomic
from recbole_ext.tools.new_users.folding_recommender import FoldingRecommender
from recbole_ext.tools.new_users.recommender import Answer, Recommender
from recbole_ext.tools.new_users.strong_generalization import GIVEN, judge
from recbole_ext.tools.new_users.taste_map import ORDERS

__all__ = ["GIVEN", "ORDERS", "Answer", "Recommender", "judge", "load", "read_atomic"]


def load(checkpoint: str | Path) -> Recommender:
    """Load a model to recommend items to new users.

    Args:
        checkpoint: the checkpoint of MeLU or MAMO, which adapt to a new user, or of any general
            model, which places a new user among its own by the ratings alone.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not a checkpoint of such a model.
    """
    from recbole_ext.quick_start import load_data_and_model

    config, model, _, train_data, *_ = load_data_and_model(checkpoint)
    dataset = train_data._dataset
    if isinstance(model, MetaRecommender):
        return AdaptingRecommender(config, model, dataset)
    if not isinstance(model, GeneralRecommender):
        raise ValueError(
            f"{checkpoint} is of {type(model).__name__}, which is no general model: new users can "
            "be served by MeLU, MAMO and general models"
        )
    return FoldingRecommender(config, model, dataset)
