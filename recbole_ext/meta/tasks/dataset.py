"""RecBole's dataset, split into cold-start tasks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType

from recbole_ext.meta.task_settings import TaskSettings
from recbole_ext.meta.tasks.scenarios import scenarios
from recbole_ext.meta.tasks.splitting import ColdStartSplit, split_tasks
from recbole_ext.seams.rating_dataset import RatingDataset

TASK_FIELD = "task_id"
_CONTENT = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ, FeatureType.FLOAT, FeatureType.FLOAT_SEQ)


class ColdStartDataset(RatingDataset):
    """A dataset of ratings whose ``build`` makes tasks for warm and cold users and items.

    Attributes:
        split: after ``build``, who may see which rating; all three parts carry the same.
        without_cold_field: items that have no ``cold_item_field``, shape: [n_items]
    """

    split: ColdStartSplit
    without_cold_field: NDArray[np.bool_]

    def _data_filtering(self) -> None:
        super()._data_filtering()
        twice = self.inter_feat.duplicated([self.uid_field, self.iid_field])
        if twice.any():
            raise ValueError(
                f"dataset {self.dataset_name}: {int(twice.sum())} ratings are of a user and an "
                "item that have one already, which could be query and support at once; set "
                "rm_dup_inter: first or last"
            )

    def _fill_nan(self) -> None:
        """Note the items without ``cold_item_field`` before RecBole fills in means."""
        field = self.config["cold_item_field"]
        if self.item_feat is not None and field in self.item_feat:
            self.without_cold_field = self.item_feat[field].isna().to_numpy()
        super()._fill_nan()

    def content_fields(self, side: str) -> list[str]:
        """The names of the fields that describe users (``side: user``) or items (``item``).

        Raises:
            ValueError: if there are none.
        """
        fields = self.described_by(side)
        if not fields:
            raise ValueError(
                f"dataset {self.dataset_name}: no field describes the {side}s; "
                f"{self.config['model']} needs the file {self.dataset_name}.{side} with a token, "
                f"token_seq, float or float_seq column that load_col does not leave out"
            )
        return fields

    def described_by(self, side: str) -> list[str]:
        """The same names as :meth:`content_fields`; empty if there are none."""
        feature = self.user_feat if side == "user" else self.item_feat
        ids = (self.uid_field, self.iid_field)
        left_out = {*ids, *(self.config["ignored_fields"] or ())}
        return [
            field
            for field in ([] if feature is None else feature.columns)
            if field not in left_out and self.field2type[field] in _CONTENT
        ]

    def build(self) -> list[Dataset]:
        """Split into tasks.

        The training part holds all ratings that may be known when a query is predicted: those to
        train on and the support sets (RecBole masks them when it ranks). The other two parts hold
        the queries. Their column ``task_id`` is the place of the task in ``split.evaluation``.
        Small tasks come first, so that little padding is needed.

        Raises:
            ValueError: if nothing is cold, or no task is left.
        """
        self._change_feat_format()
        settings = TaskSettings.read(self.config)
        ratings = self.inter_feat
        fields = (self.uid_field, self.iid_field, self.config["RATING_FIELD"])
        users, items, values = (ratings[field] for field in fields)
        codes = scenarios(self, settings)
        self.split = split = split_tasks(users, items, values, codes, settings)
        self._drop_unused_col()
        parts = [self.copy(ratings[split.known_rows])]
        by_size = torch.argsort(split.evaluation.sizes[split.query_tasks], stable=True)
        rows, tasks = split.query_rows[by_size], split.query_tasks[by_size]
        is_valid = split.is_valid[tasks]
        for chosen in (is_valid, ~is_valid):
            part = ratings[rows[chosen]]
            part[TASK_FIELD] = tasks[chosen]
            parts.append(self.copy(part))
        return parts
